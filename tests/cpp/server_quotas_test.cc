// What each name space may use of a server, and what all of them together.
#include <doctest/doctest.h>

#include <string>

#include "server/run.h"
#include "spaces_scene.h"

using namespace rdzv;
using namespace rdzv::test;

TEST_CASE("quotas hold for each name space, and say nothing of others") {
  ServerLimits limits;
  limits.keys_per_space = 3;
  limits.stored_bytes_per_space = 4096;
  limits.connections_per_space = 2;
  limits.runs_per_space = 1;
  limits.waits_per_space = 2;
  World world(limits);
  MemoryPeer& a = world.member("a");
  MemoryPeer& b = world.member("b");
  const auto refused = [](MemoryPeer& peer, size_t call, const char* limit) {
    CHECK(peer.reply(call).status == ErrorCode::kLimit);
    CHECK(peer.error(call).find(limit) != std::string::npos);
  };
  for (const char* key : {"/1", "/2", "/3"}) set(a, key);
  refused(a, a.ask(native::SetRequest{{"/4"}, {"v"}}), "keys_per_space");
  set(b, "/1");
  refused(b, b.ask(native::SetRequest{{"/2"}, std::string(5000, 'x')}), "stored_bytes_per_space");
  CHECK(value_at(a, "/1") == "v");

  for (const char* key : {"/w1", "/w2"}) a.ask(native::GetRequest{kForEver, {key}});
  refused(a, a.ask(native::GetRequest{kForEver, {"/w3"}}), "waits_per_space");
  CHECK(a.reply(a.ask(native::GetRequest{kForEver, {"/1"}})).status == ErrorCode::kOk);
  CHECK_FALSE(b.has_answer(b.ask(native::GetRequest{kForEver, {"/w3"}})));

  const native::RunSettings settings{2, 2, 1000, 1000, 3};
  const auto join = [&](MemoryPeer& peer, const char* run) {
    const std::string host = "host of " + std::string(run);
    return peer.ask(native::JoinRequest{
        kForEver, {run}, {host, 1, 0}, settings, 0, 500, static_cast<uint32_t>(run[1])});
  };
  CHECK_FALSE(b.has_answer(join(b, "r1")));
  refused(b, join(b, "r2"), "waits_per_space");

  world.member("a");
  MemoryPeer& third = world.holder("a", tls::Role::kMember);
  third.exchange();
  CHECK(third.client.state() != ClientCore::State::kOpen);
  CHECK(third.all.find("connections_per_space is 2") != std::string::npos);
  CHECK(third.transport.closed);
}

TEST_CASE("nodes of one name space's runs take no place of another's, beyond its quota") {
  World world;
  world.core.set_quotas({{"a", {.run_bytes = 20'000}}});
  const native::RunSettings settings{1000, 1000, 1000, 1000, 3};
  const auto joins = [&](MemoryPeer& peer, uint32_t node) {
    return peer.ask(native::JoinRequest{
        kForEver, {"run"}, {"host" + std::to_string(node), 1, 0}, settings, 0, 500, node});
  };
  MemoryPeer& a = world.member("a");
  uint32_t nodes = 0;
  size_t call = joins(a, nodes);
  for (; !a.has_answer(call); call = joins(a, ++nodes)) REQUIRE(nodes < 100);
  CHECK(nodes > 5);
  CHECK(a.reply(call).status == ErrorCode::kLimit);
  CHECK(a.error(call).find("its quota run_bytes is 20000, by the server's token file") !=
        std::string::npos);
  const uint64_t used =
      a.answer<native::SpacesRequest>(a.ask(native::SpacesRequest{})).spaces.front().run_bytes;
  CHECK(used > 20'000 - kRunNodeBytes);
  CHECK(used <= 20'000);
  MemoryPeer& b = world.member("b");
  for (uint32_t node = 0; node < 100; ++node) CHECK_FALSE(b.has_answer(joins(b, node)));

  // Who is in goes on, and others look.
  const auto is_refused = [](MemoryPeer& peer, size_t asked) {
    return peer.has_answer(asked) && peer.reply(asked).status == ErrorCode::kLimit;
  };
  MemoryPeer& other = world.member("a");
  CHECK_FALSE(is_refused(a, joins(a, 0)));
  CHECK_FALSE(is_refused(
      a, a.ask(native::ResumeRequest{{"run"}, {"host1", 1, 0}, settings, 1, 1, 2, 500, 1})));
  CHECK_FALSE(is_refused(
      other, other.ask(native::SubscribeRequest{kForEver, {"run"}, {"host1", 1, 0}, 1, 0, false})));
  CHECK_FALSE(is_refused(
      other, other.ask(native::FollowRequest{kForEver, {"run"}, native::kNothingKnown})));
  CHECK(is_refused(other, other.ask(native::JoinRequest{
                              kForEver, {"next"}, {"host", 1, 0}, settings, 0, 500, 1})));
  CHECK(other.reply(other.ask(native::CloseRunRequest{{"run"}})).status == ErrorCode::kOk);
}

TEST_CASE("a smaller quota drops no run whose nodes may come back") {
  World world;
  const native::RunSettings settings{2, 2, 1000, 1000, 3};
  const auto join = [&](MemoryPeer& peer, const char* run) {
    return peer.ask(native::JoinRequest{kForEver, {run}, {"host", 1, 0}, settings, 0, 60'000, 1});
  };
  MemoryPeer& gone = world.member("a");
  CHECK_FALSE(gone.has_answer(join(gone, "kept")));
  gone.lose();
  world.core.set_quotas({{"a", {.run_bytes = 1000}}});
  MemoryPeer& a = world.member("a");
  const size_t look = a.ask(native::FollowRequest{kForEver, {"other"}, native::kNothingKnown});
  CHECK(a.reply(look).status == ErrorCode::kLimit);
  const size_t enter = join(a, "new");
  CHECK(a.reply(enter).status == ErrorCode::kLimit);
  CHECK(a.error(enter).find("its quota run_bytes is 1000") != std::string::npos);
  const size_t status = a.ask(native::StatusRequest{{"kept"}, {}});
  CHECK(a.answer<native::StatusRequest>(status).known);
  // With room for one, it takes the place of that.
  world.core.set_quotas({{"a", {.run_bytes = 4000}}});
  CHECK_FALSE(a.has_answer(join(a, "new")));
}

TEST_CASE(
    "what a token file says of a name space holds there, and the limits hold for the others") {
  ServerLimits limits;
  limits.keys_per_space = 2;
  World world(limits);
  world.core.set_quotas({{"a", {.keys = 1, .connections = 1}}, {"c", {.keys = 3}}});
  MemoryPeer& a = world.member("a");
  MemoryPeer& b = world.member("b");
  MemoryPeer& c = world.member("c");
  const auto keys_until_refused = [](MemoryPeer& peer, const char* why) {
    for (uint64_t count = 0;; ++count) {
      const size_t call = peer.ask(native::SetRequest{{"/" + std::to_string(count)}, {"v"}});
      if (peer.reply(call).status == ErrorCode::kOk) continue;
      CHECK(peer.reply(call).status == ErrorCode::kLimit);
      CHECK(peer.error(call).find(why) != std::string::npos);
      return count;
    }
  };
  CHECK_FALSE(world.core.take_quota_missed());
  CHECK(keys_until_refused(a, "its quota keys is 1, by the server's token file") == 1);
  CHECK(world.core.take_quota_missed());
  CHECK_FALSE(world.core.take_quota_missed());
  CHECK(keys_until_refused(b, "the server's limit keys_per_space is 2") == 2);
  CHECK(keys_until_refused(c, "its quota keys is 3") == 3);
  MemoryPeer& second = world.holder("a", tls::Role::kMember);
  second.exchange();
  CHECK(second.all.find("its quota connections is 1") != std::string::npos);
  CHECK(second.transport.closed);

  // What is there stays; whoever asks is told what holds.
  world.core.set_quotas({{"a", {.keys = 5}}, {"c", {.keys = 1}}});
  set(a, "/more");
  CHECK(keys_of(c) == 3);
  CHECK(keys_until_refused(c, "its quota keys is 1") == 0);
  world.member("a");
  const auto limit_in = [](MemoryPeer& peer, const std::string& name) {
    for (const auto& each :
         peer.answer<native::SpacesRequest>(peer.ask(native::SpacesRequest{})).limits) {
      if (each.name == name) return each.value;
    }
    return uint64_t{0};
  };
  CHECK(limit_in(a, "keys_per_space") == 5);
  CHECK(limit_in(b, "keys_per_space") == 2);
  CHECK(limit_in(a, "connections_per_space") == limits.connections_per_space);
}

TEST_CASE(
    "what all name spaces store is bounded together, and what one deletes another may store") {
  ServerLimits limits;
  limits.keys = 4;
  World world(limits);
  MemoryPeer& a = world.member("a");
  MemoryPeer& b = world.member("b");
  for (const char* key : {"/1", "/2", "/3"}) set(a, key);
  set(b, "/1");
  const size_t more = b.ask(native::SetRequest{{"/2"}, {"v"}});
  CHECK(b.reply(more).status == ErrorCode::kLimit);
  // Its own count, and not that of all.
  CHECK(b.error(more).find("1 keys are here") != std::string::npos);
  CHECK(value_at(b, "/1") == "v");
  a.ask(native::DeletePrefixRequest{{"/"}});
  set(b, "/2");
}

TEST_CASE(
    "who is ended for having most is told nothing of what others have, nor is its name space") {
  ServerLimits limits;
  limits.parked_bytes = 100'000;
  World world(limits);
  MemoryPeer& greedy = world.member("a");
  MemoryPeer& modest = world.member("a");
  MemoryPeer& other = world.member("b");
  const auto wait = [](MemoryPeer& peer, int count) {
    for (int i = 0; i < count; ++i)
      peer.ask(native::GetRequest{kForEver, {"/" + std::string(10'000, 'k') + std::to_string(i)}});
  };
  wait(greedy, 4);
  wait(other, 3);
  wait(modest, 3);
  CHECK(greedy.transport.closed);
  CHECK_FALSE(modest.transport.closed);
  const auto told =
      modest.answer<native::TimelineRequest>(modest.ask(native::TimelineRequest{{}, 1}));
  bool is_told = false;
  for (const auto& item : told.items) {
    is_told = is_told || item.text.find("limit parked_bytes is 100000") != std::string::npos;
    CHECK(item.text.find("together") == std::string::npos);
  }
  CHECK(is_told);
  CHECK(other.answer<native::TimelineRequest>(other.ask(native::TimelineRequest{{}, 1}))
            .items.empty());
}
