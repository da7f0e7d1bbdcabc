// Several jobs at one server: each name space has its own keys, queues, runs and waits, and nobody
// learns of another one's names, counts or values.
#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "base/log.h"
#include "spaces_scene.h"

using namespace rdzv;
using namespace rdzv::test;
using std::chrono::milliseconds;

namespace {

std::string drained_log() {
  std::string all;
  while (const auto record = LogQueue::instance().read(Duration::zero()))
    all += record->message + "\n";
  return all;
}

}  // namespace

TEST_CASE("each name space has its own keys, queues, waits, runs and hosts") {
  World world;
  MemoryPeer& plain = world.newcomer("10.0.0.1:1");
  MemoryPeer& a = world.member("a");
  MemoryPeer& b = world.member("b");
  MemoryPeer& of_default = world.member("default");
  set(plain, "/k", "plain");
  set(a, "/k", "of a");
  set(b, "/k", "of b");
  CHECK(value_at(plain, "/k") == "plain");
  CHECK(value_at(of_default, "/k") == "plain");
  CHECK(value_at(a, "/k") == "of a");
  CHECK(value_at(b, "/k") == "of b");
  set(a, "/more");
  CHECK(keys_of(a) == 2);
  CHECK(keys_of(b) == 1);
  CHECK(keys_of(plain) == 1);

  const size_t waits = b.ask(native::GetRequest{kForEver, {"/late"}});
  const size_t pops = b.ask(native::QueuePopRequest{kForEver, {"/q"}});
  const size_t watches = b.ask(native::WatchPrefixRequest{kForEver, {"/"}, 0, {}});
  const auto position = b.answer<native::WatchPrefixRequest>(watches).position;
  const size_t watches_on = b.ask(native::WatchPrefixRequest{kForEver, {"/"}, position, {}});
  set(a, "/late");
  a.ask(native::QueuePushRequest{{"/q"}, {"item"}});
  a.ask(native::DeletePrefixRequest{{"/"}});
  CHECK_FALSE(b.has_answer(waits));
  CHECK_FALSE(b.has_answer(pops));
  CHECK_FALSE(b.has_answer(watches_on));
  CHECK(keys_of(b) == 1);
  CHECK(a.answer<native::QueueLenRequest>(a.ask(native::QueueLenRequest{{"/q"}})).count == 1);
  CHECK(b.answer<native::QueueLenRequest>(b.ask(native::QueueLenRequest{{"/q"}})).count == 0);

  // Runs of one id are two.
  const native::RunSettings settings{1, 1, 1000, 1000, 3};
  for (MemoryPeer* peer : {&a, &b}) {
    const size_t joins = peer->ask(
        native::JoinRequest{kForEver, {"run"}, {Bytes("host"), 1, 0}, settings, 0, 500, 1});
    CHECK(peer->answer<native::JoinRequest>(joins).round == 1);
  }
  CHECK_FALSE(plain
                  .answer<native::StatusRequest>(
                      plain.ask(native::StatusRequest{{"run"}, {Bytes("host"), 1, 0}}))
                  .known);
  // Who has come to one has not come to another.
  native::HostsRequest hosts;
  hosts.addresses.push_back({Bytes("10.1.0.1")});
  hosts.addresses.push_back({Bytes("10.0.0.1")});
  const size_t in_a = a.ask(hosts);
  const auto seen = a.answer<native::HostsRequest>(in_a);
  CHECK(seen.states[0].state == native::HostState::kIs);
  CHECK(seen.states[1].state == native::HostState::kNever);
}

TEST_CASE("a member sees the census of its own name space alone, an admin that of all") {
  World world;
  MemoryPeer& a = world.member("a");
  MemoryPeer& b = world.member("b");
  set(a, "/one");
  set(a, "/two");
  a.ask(native::GetRequest{kForEver, {"/never"}});
  for (const bool every : {false, true}) {
    const auto own = b.answer<native::SpacesRequest>(b.ask(native::SpacesRequest{every}));
    REQUIRE(own.spaces.size() == 1);
    CHECK(own.spaces.front().name == "b");
    CHECK(own.spaces.front().keys == 0);
  }

  MemoryPeer& admin = world.holder("default", tls::Role::kAdmin);
  admin.exchange();
  const auto every = admin.answer<native::SpacesRequest>(admin.ask(native::SpacesRequest{true}));
  REQUIRE(every.spaces.size() == 3);
  for (const auto& space : every.spaces) {
    CHECK(space.connections == 1);
    CHECK(space.keys == (space.name == "a" ? 2 : 0));
    CHECK(space.waits == (space.name == "a" ? 1 : 0));
  }
}

TEST_CASE("an admin is in the name space that its HELLO names, a member in its own alone") {
  World world;
  set(world.member("a"), "/k", "of a");
  for (const size_t piece : {SIZE_MAX, size_t{1}, size_t{7}}) {
    MemoryPeer& admin = world.holder("default", tls::Role::kAdmin, "a");
    // Cut anywhere: where it belongs is known when the HELLO is whole.
    for (std::string hello(admin.client.to_send()); !hello.empty();
         hello.erase(0, std::min(piece, hello.size())))
      admin.send(Bytes(hello).substr(0, piece));
    admin.client.on_sent(admin.client.to_send().size(), world.time.now);
    admin.exchange();
    REQUIRE(admin.client.state() == ClientCore::State::kOpen);
    CHECK(value_at(admin, "/k") == "of a");
    admin.lose();
  }
  drained_log();
  // Whether there is such a name space makes no difference.
  std::string told;
  for (const char* named : {"a", "z"}) {
    MemoryPeer& member = world.holder("b", tls::Role::kMember, named);
    member.exchange();
    CHECK(member.client.state() != ClientCore::State::kOpen);
    CHECK(member.transport.closed);
    std::string text = member.all;
    CHECK(text.find("name space 'b'") != std::string::npos);
    text.replace(text.find("'" + std::string(named) + "'"), 3, "*");
    CHECK((told.empty() || told == text));
    told = text;
  }
  CHECK(drained_log().find("audit event=refused peer='10.1.0.1:") != std::string::npos);
  MemoryPeer& plain = world.stranger("10.0.0.1:1");
  plain.client = ClientCore({9}, "memory", "a");
  plain.exchange();
  CHECK(plain.transport.closed);
}

TEST_CASE("a name space goes when nobody is in it and nothing is kept") {
  World world;
  MemoryPeer& a = world.member("a");
  set(a, "/k");
  const uint64_t first =
      a.answer<native::TryGetRequest>(a.ask(native::TryGetRequest{{"/k"}})).version;
  a.lose();
  CHECK(world.has_space("a"));
  world.time.now += milliseconds(1);
  MemoryPeer& again = world.member("a");
  CHECK(value_at(again, "/k") == "v");
  again.ask(native::DeleteKeyRequest{{"/k"}});
  CHECK(world.has_space("a"));
  again.lose();
  CHECK_FALSE(world.has_space("a"));
  // No version of it comes again.
  world.time.now += milliseconds(1);
  MemoryPeer& third = world.member("a");
  set(third, "/k");
  CHECK(third.answer<native::TryGetRequest>(third.ask(native::TryGetRequest{{"/k"}})).version >
        first);
  third.ask(native::DeleteKeyRequest{{"/k"}});
  third.lose();

  // Keys whose time is over, and runs that nobody remembers, hold none.
  MemoryPeer& short_lived = world.member("b");
  short_lived.ask(native::SetForRequest{50, {"/k"}, {"v"}});
  short_lived.lose();
  CHECK(world.has_space("b"));
  world.wait(milliseconds(50));
  CHECK_FALSE(world.has_space("b"));
  MemoryPeer& joins = world.member("c");
  joins.ask(native::JoinRequest{
      kForEver, {"run"}, {Bytes("host"), 1, 0}, {1, 1, 1000, 1000, 3}, 0, 500, 1});
  joins.ask(native::CloseRunRequest{{"run"}});
  joins.lose();
  CHECK(world.has_space("c"));
  world.wait(milliseconds(1000));
  world.wait(milliseconds(world.core.limits().idle_run_ms + 10'000));
  CHECK_FALSE(world.has_space("c"));
}

TEST_CASE("there are so many name spaces at most") {
  ServerLimits limits;
  limits.spaces = 3;
  World world(limits);
  set(world.member("a"), "/k");
  MemoryPeer& b = world.member("b");
  MemoryPeer& c = world.holder("c", tls::Role::kMember);
  c.exchange();
  CHECK(c.client.state() != ClientCore::State::kOpen);
  CHECK(c.all.find("spaces is 3") != std::string::npos);
  CHECK(c.transport.closed);
  b.lose();
  world.turn();
  set(world.member("c"), "/k");
}
