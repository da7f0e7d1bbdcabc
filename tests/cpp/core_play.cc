// What the tests of the cores let clients do: every operation, waits that end in each way, a run of
// 1,000 nodes.
#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "core_world.h"

namespace rdzv::test {

using native::Operation;
using Outcome = ClientCore::Outcome;
using std::chrono::milliseconds;

namespace {

std::vector<Bytes> keys(std::initializer_list<Bytes> names) {
  return names;
}

void play_store(World& world, MemoryPeer& a, MemoryPeer& b) {
  a.ask(native::PingRequest{});
  const size_t set = a.ask(native::SetRequest{{"/k"}, {"v"}});
  CHECK(a.answer<native::SetRequest>(set).version == 1);
  const size_t got = b.ask(native::GetRequest{0, {"/k"}});
  CHECK(b.answer<native::GetRequest>(got).value == "v");
  const size_t swapped = b.ask(native::CompareSetRequest{{"/k"}, {"v"}, {"w"}});
  CHECK(b.answer<native::CompareSetRequest>(swapped).swapped);
  const size_t sum = a.ask(native::AddRequest{{"/n"}, 5});
  CHECK(a.answer<native::AddRequest>(sum).sum == 5);
  a.ask(native::AppendRequest{{"/k"}, {"x"}});

  const std::vector<Bytes> two = keys({"/p/1", "/p/2"});
  const size_t absent = a.ask(native::CheckRequest{{two}});
  CHECK_FALSE(a.answer<native::CheckRequest>(absent).are_there);
  const size_t waits = b.ask(native::WaitRequest{1000, {two}});
  CHECK_FALSE(b.has_answer(waits));
  const std::vector<Bytes> pairs = keys({"/p/1", "one", "/p/2", "two"});
  a.ask(native::MultiSetRequest{{pairs}});
  CHECK(b.has_answer(waits));
  b.ask(native::MultiGetRequest{0, {two}});
  b.ask(native::TryGetRequest{{"/none"}});
  b.ask(native::ListKeysRequest{{"/p"}});
  b.ask(native::NumKeysRequest{});

  const size_t watches = b.ask(native::WatchRequest{native::kNoTimeout, {"/n"}, 3});
  CHECK_FALSE(b.has_answer(watches));
  a.ask(native::SetIfVersionRequest{{"/n"}, {"6"}, 3});
  CHECK(b.has_answer(watches));
  const auto list = b.answer<native::WatchPrefixRequest>(
      b.ask(native::WatchPrefixRequest{native::kNoTimeout, {"/n"}, 0, {}}));
  CHECK(list.begins);
  const size_t changes =
      b.ask(native::WatchPrefixRequest{native::kNoTimeout, {"/n"}, list.position, {}});
  a.ask(native::SetRequest{{"/nn"}, {"new"}});
  CHECK(b.answer<native::WatchPrefixRequest>(changes).items.size() == 1);
  a.ask(native::SetForRequest{50, {"/short"}, {"lived"}});
  world.wait(milliseconds(49));
  CHECK(a.answer<native::TryGetRequest>(a.ask(native::TryGetRequest{{"/short"}})).version != 0);
  world.wait(milliseconds(1));
  CHECK(a.answer<native::TryGetRequest>(a.ask(native::TryGetRequest{{"/short"}})).version == 0);
  a.ask(native::DeleteKeyRequest{{"/k"}});
  a.ask(native::DeletePrefixRequest{{"/p"}});

  const size_t pops = b.ask(native::QueuePopRequest{native::kNoTimeout, {"/q"}});
  a.ask(native::QueuePushRequest{{"/q"}, {"item"}});
  CHECK(b.answer<native::QueuePopRequest>(pops).item == "item");
  b.ask(native::QueueLenRequest{{"/q"}});
  const size_t first = a.ask(native::BarrierRequest{native::kNoTimeout, {"/b"}, 2, 0});
  const size_t second = b.ask(native::BarrierRequest{native::kNoTimeout, {"/b"}, 2, 1});
  CHECK((a.has_answer(first) && b.has_answer(second)));
  const size_t gives = a.ask(native::ExchangeRequest{native::kNoTimeout, {"/e"}, 0, 2, {"zero"}});
  b.ask(native::ExchangeRequest{native::kNoTimeout, {"/e"}, 1, 2, {"one"}});
  CHECK(a.answer<native::ExchangeRequest>(gives).values[1] == "one");
}

// A client of its own on another channel of a connection, which ends.
void play_channel(World& world) {
  MemoryPeer& peer = world.stranger("10.0.4.1:1");
  world.asked.insert(Operation::kCloseChannel);
  peer.send(
      native_greeting() +
      native_frame(Operation::kGet, 1, Fields().u32(native::kNoTimeout).string32("/7").bytes, 7) +
      native_frame(Operation::kPing, 2, "", 7) + native_frame(Operation::kCloseChannel, 3, "", 7));
  peer.send(native_set(4, "/7", "late"));
  size_t answers = 0;
  native::Frame frame;
  for (Bytes left = peer.transport.sent;
       native::next_frame(left, frame) == native::Progress::kTaken; ++answers)
    left.remove_prefix(native::kHeaderBytes + frame.body.size());
  CHECK(answers == 4);  // all but the GET
}

// A wait whose time is over, one that is given up, and one whose connection is lost.
void play_endings(World& world, MemoryPeer& a, MemoryPeer& b) {
  const size_t late = a.ask(native::GetRequest{100, {"/never"}});
  world.wait(milliseconds(99));
  CHECK_FALSE(a.has_answer(late));
  CHECK(world.core.next() == world.time.now + milliseconds(1));
  world.wait(milliseconds(1));
  a.answer<native::GetRequest>(late, ErrorCode::kTimeout);
  CHECK(a.error(late).find("timeout") != std::string::npos);

  // A client's own word: the server is told that nobody waits there any more.
  const size_t given_up =
      a.ask(native::GetRequest{native::kNoTimeout, {"/late"}}, milliseconds(50));
  CHECK(a.client.next() == world.time.now + milliseconds(50));
  MemoryPeer& lost = world.newcomer("10.0.0.9:9");
  const size_t cut = lost.ask(native::GetRequest{native::kNoTimeout, {"/late"}});
  lost.lose();
  CHECK(lost.transport.closed);
  world.wait(milliseconds(50));
  world.asked.insert(Operation::kCancel);
  CHECK(a.reply(given_up).outcome == Outcome::kTimedOut);
  CHECK(a.reply(given_up).sent);
  CHECK(a.client.next() == Timers::kNever);
  const size_t bytes = a.all.size();
  b.ask(native::SetRequest{{"/late"}, {"v"}});
  a.exchange();
  CHECK(a.all.size() == bytes);
  CHECK(lost.reply(cut).outcome == Outcome::kBroken);
  CHECK(lost.reply(cut).sent);

  // An item comes for a pop that is being given up.
  const size_t pops = a.ask(native::QueuePopRequest{native::kNoTimeout, {"/items"}});
  const size_t pushes = b.ask(native::QueuePushRequest{{"/items"}, {"item"}});
  a.give_up(pops);
  CHECK(b.has_answer(pushes));
  a.exchange();
  CHECK(b.answer<native::QueueLenRequest>(b.ask(native::QueueLenRequest{{"/items"}})).count == 1);
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
  std::vector<size_t> joins;
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
  const size_t changes =
      one.ask(native::SubscribeRequest{native::kNoTimeout, {"run"}, node(names[0]), 1, 0, false});
  const size_t followed = a.ask(native::FollowRequest{0, {"run"}, 0});
  const uint64_t version = a.answer<native::FollowRequest>(followed).version;
  const size_t next = a.ask(native::FollowRequest{native::kNoTimeout, {"run"}, version});
  // A connection breaks; the node comes back within its grace, and another does not.
  world.peers[first + 1]->lose();
  world.peers[first + 2]->lose();
  MemoryPeer& back = world.newcomer("10.0.1.2:1");
  const auto placed = world.peers[first + 1]->answer<native::JoinRequest>(joins[1]);
  const size_t resumed = back.ask(
      native::ResumeRequest{{"run"}, node(names[1]), settings, 1, placed.rank, kNodes, 500, 1});
  CHECK(back.answer<native::ResumeRequest>(resumed).taken);
  CHECK_FALSE(one.has_answer(changes));
  world.wait(milliseconds(500));
  CHECK(one.answer<native::SubscribeRequest>(changes).changes == 1);
  const auto told = a.answer<native::FollowRequest>(next);
  CHECK(told.version > version);
  REQUIRE(told.gone.size() == 1);
  CHECK(told.gone.front().node.addr == names[2]);
  CHECK(told.gone.front().how == native::Departure::kLost);
  a.ask(native::MembersRequest{{"run"}, native::MemberList::kLost, {}, 10});
  const size_t status = a.ask(native::StatusRequest{{"run"}, node(names[0])});
  CHECK(a.answer<native::StatusRequest>(status).lost == 1);
  one.ask(native::LeaveRequest{{"run"}, node(names[0]), true, true, 1, 0, {"no such file"}});
  CHECK(a.answer<native::StatusRequest>(a.ask(native::StatusRequest{{"run"}, node(names[3])}))
            .gave_up == 1);
  native::HostsRequest hosts;
  for (const char* address : {"10.0.1.1", "198.51.100.7"})
    hosts.addresses.push_back({Bytes(address)});
  CHECK(a.answer<native::HostsRequest>(a.ask(hosts)).states.size() == 2);
  CHECK(a.answer<native::TimelineRequest>(a.ask(native::TimelineRequest{{"run"}, 0})).next >
        kNodes);
  a.ask(native::CloseRunRequest{{"run"}});
  const auto spaces = a.answer<native::SpacesRequest>(a.ask(native::SpacesRequest{}));
  REQUIRE(spaces.spaces.size() == 1);
  CHECK(spaces.spaces.front().connections == kNodes + 1);
  CHECK(spaces.limits.size() == ServerLimits::fields().size());
}

void play_c10d(World& world) {
  using c10d::Code;
  MemoryPeer& peer = world.stranger("10.0.2.1:1");
  peer.send(c10d_validate());
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
  play_channel(world);
  std::string bytes;
  for (const auto& peer : world.peers) bytes += peer->all + peer->transport.sent + '|';
  return bytes;
}

}  // namespace rdzv::test
