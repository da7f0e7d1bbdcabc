// What the tests of the server's core let its clients do: every operation, waits that end in each
// way, a run of 1,000 nodes.
#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "core_world.h"

namespace rdzv::test {

using native::Operation;
using std::chrono::milliseconds;

namespace {

std::vector<Bytes> keys(std::initializer_list<Bytes> names) {
  return names;
}

void play_store(World& world, MemoryPeer& a, MemoryPeer& b) {
  a.ask(native::PingRequest{});
  const uint64_t set = a.ask(native::SetRequest{{"/k"}, {"v"}});
  CHECK(a.answer<native::SetRequest>(set).version == 1);
  const uint64_t got = b.ask(native::GetRequest{0, {"/k"}});
  CHECK(b.answer<native::GetRequest>(got).value == "v");
  const uint64_t swapped = b.ask(native::CompareSetRequest{{"/k"}, {"v"}, {"w"}});
  CHECK(b.answer<native::CompareSetRequest>(swapped).swapped);
  const uint64_t sum = a.ask(native::AddRequest{{"/n"}, 5});
  CHECK(a.answer<native::AddRequest>(sum).sum == 5);
  a.ask(native::AppendRequest{{"/k"}, {"x"}});

  const std::vector<Bytes> two = keys({"/p/1", "/p/2"});
  const uint64_t absent = a.ask(native::CheckRequest{{two}});
  CHECK_FALSE(a.answer<native::CheckRequest>(absent).are_there);
  const uint64_t waits = b.ask(native::WaitRequest{1000, {two}});
  CHECK_FALSE(b.has_answer(waits));
  const std::vector<Bytes> pairs = keys({"/p/1", "one", "/p/2", "two"});
  a.ask(native::MultiSetRequest{{pairs}});
  CHECK(b.has_answer(waits));
  b.ask(native::MultiGetRequest{0, {two}});
  b.ask(native::TryGetRequest{{"/none"}});
  b.ask(native::ListKeysRequest{{"/p"}});
  b.ask(native::NumKeysRequest{});

  const uint64_t watches = b.ask(native::WatchRequest{native::kNoTimeout, {"/n"}, 3});
  CHECK_FALSE(b.has_answer(watches));
  a.ask(native::SetIfVersionRequest{{"/n"}, {"6"}, 3});
  CHECK(b.has_answer(watches));
  a.ask(native::SetForRequest{50, {"/short"}, {"lived"}});
  world.wait(milliseconds(49));
  CHECK(a.answer<native::TryGetRequest>(a.ask(native::TryGetRequest{{"/short"}})).version != 0);
  world.wait(milliseconds(1));
  CHECK(a.answer<native::TryGetRequest>(a.ask(native::TryGetRequest{{"/short"}})).version == 0);
  a.ask(native::DeleteKeyRequest{{"/k"}});
  a.ask(native::DeletePrefixRequest{{"/p"}});

  const uint64_t pops = b.ask(native::QueuePopRequest{native::kNoTimeout, {"/q"}});
  a.ask(native::QueuePushRequest{{"/q"}, {"item"}});
  CHECK(b.answer<native::QueuePopRequest>(pops).item == "item");
  b.ask(native::QueueLenRequest{{"/q"}});
  const uint64_t first = a.ask(native::BarrierRequest{native::kNoTimeout, {"/b"}, 2, 0});
  const uint64_t second = b.ask(native::BarrierRequest{native::kNoTimeout, {"/b"}, 2, 1});
  CHECK((a.has_answer(first) && b.has_answer(second)));
  const uint64_t gives = a.ask(native::ExchangeRequest{native::kNoTimeout, {"/e"}, 0, 2, {"zero"}});
  b.ask(native::ExchangeRequest{native::kNoTimeout, {"/e"}, 1, 2, {"one"}});
  CHECK(a.answer<native::ExchangeRequest>(gives).values[1] == "one");
}

// Another client over the same connection, which ends.
void play_channel(World& world, MemoryPeer& a) {
  const uint64_t waits = a.ask(native::GetRequest{native::kNoTimeout, {"/of 7"}}, 7);
  const uint64_t ends = a.ask(native::CloseChannelRequest{}, 7);
  a.answer<native::CloseChannelRequest>(ends);
  a.ask(native::SetRequest{{"/of 7"}, {"late"}});
  CHECK_FALSE(a.has_answer(waits));
  world.turn();
}

// A wait whose time is over, one that is cancelled, and one whose connection is lost.
void play_endings(World& world, MemoryPeer& a, MemoryPeer& b) {
  const uint64_t late = a.ask(native::GetRequest{100, {"/never"}});
  world.wait(milliseconds(99));
  CHECK_FALSE(a.has_answer(late));
  CHECK(world.core.next() == world.time.now + milliseconds(1));
  world.wait(milliseconds(1));
  a.answer<native::GetRequest>(late, ErrorCode::kTimeout);
  CHECK(a.error(late).find("timeout") != std::string::npos);

  const uint64_t given_up = a.ask(native::GetRequest{native::kNoTimeout, {"/late"}});
  a.ask(native::CancelRequest{0, static_cast<native::RequestId>(given_up)});
  MemoryPeer& lost = world.newcomer("10.0.0.9:9");
  lost.ask(native::GetRequest{native::kNoTimeout, {"/late"}});
  lost.hang_up();
  CHECK(lost.transport.closed);
  b.ask(native::SetRequest{{"/late"}, {"v"}});
  CHECK_FALSE(a.has_answer(given_up));
  CHECK_FALSE(lost.has_answer(1));
}

native::RunNode node(const std::string& name) {
  return {{name}, 1, 0};
}

void play_run(World& world, MemoryPeer& a) {
  constexpr uint32_t kNodes = 1000;
  const native::RunSettings settings{kNodes, kNodes, 1000, 1000, 3};
  std::vector<std::string> names;
  for (uint32_t i = 0; i < kNodes; ++i) names.push_back("host-" + std::to_string(i));
  const size_t first = world.peers.size();
  std::vector<uint64_t> joins;
  for (uint32_t i = 0; i < kNodes; ++i) {
    MemoryPeer& peer = world.newcomer("10.0.1.1:" + std::to_string(i + 1));
    joins.push_back(peer.ask(
        native::JoinRequest{native::kNoTimeout, {"run"}, node(names[i]), settings, 0, 500, 1}));
    CHECK(peer.has_answer(joins.back()) == (i + 1 == kNodes));
  }
  std::set<uint32_t> ranks;
  for (uint32_t i = 0; i < kNodes; ++i) {
    const auto reply = world.peers[first + i]->answer<native::JoinRequest>(joins[i]);
    CHECK(reply.world_size == kNodes);
    ranks.insert(reply.rank);
  }
  CHECK(ranks.size() == kNodes);

  MemoryPeer& one = *world.peers[first];
  one.ask(native::KeepAliveRequest{1});
  const uint64_t changes =
      one.ask(native::SubscribeRequest{native::kNoTimeout, {"run"}, node(names[0]), 1, 0, false});
  // A connection breaks; the node comes back within its grace, and another does not.
  world.peers[first + 1]->hang_up();
  world.peers[first + 2]->hang_up();
  MemoryPeer& back = world.newcomer("10.0.1.2:1");
  const auto placed = world.peers[first + 1]->answer<native::JoinRequest>(joins[1]);
  const uint64_t resumed = back.ask(
      native::ResumeRequest{{"run"}, node(names[1]), settings, 1, placed.rank, kNodes, 500, 1});
  CHECK(back.answer<native::ResumeRequest>(resumed).taken);
  CHECK_FALSE(one.has_answer(changes));
  world.wait(milliseconds(500));
  CHECK(one.answer<native::SubscribeRequest>(changes).changes == 1);
  a.ask(native::MembersRequest{{"run"}, native::MemberList::kLost, {}, 10});
  const uint64_t status = a.ask(native::StatusRequest{{"run"}, node(names[0])});
  CHECK(a.answer<native::StatusRequest>(status).lost == 1);
  one.ask(native::LeaveRequest{{"run"}, node(names[0]), false});
  a.ask(native::CloseRunRequest{{"run"}});
}

void play_c10d(World& world) {
  using c10d::Code;
  MemoryPeer& peer = world.newcomer("10.0.2.1:1", c10d_validate());
  peer.send(c10d_request(Code::kSet, {"/c", "1"}) + c10d_add("/c", 2) +
            c10d_request(Code::kGet, {"/c"}) + c10d_request(Code::kCheck, {"/c", "/d"}) +
            c10d_request(Code::kWait, {"/d"}));
  CHECK(peer.transport.sent == Fields().u64(3).string64("3").u8(1).bytes);
  peer.send(c10d_request(Code::kCancelWait));
  CHECK(peer.transport.sent.size() == Fields().u64(3).string64("3").u8(1).u8(1).bytes.size());
  peer.send(c10d_request(Code::kAppend, {"/c", "x"}) + c10d_add("/c", 1));  // is refused by the end
  CHECK(peer.transport.closed);
}

}  // namespace

std::string play(World& world) {
  MemoryPeer& a = world.newcomer("10.0.0.1:1");
  MemoryPeer& b = world.newcomer("10.0.0.2:1");
  world.asked.insert(Operation::kHello);
  play_store(world, a, b);
  play_endings(world, a, b);
  play_run(world, a);
  play_c10d(world);
  play_channel(world, b);
  std::string bytes;
  for (const auto& peer : world.peers) bytes += peer->all + peer->transport.sent + '|';
  return bytes;
}

}  // namespace rdzv::test
