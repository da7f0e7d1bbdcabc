// The server's core in memory: bytes, times and closings go in, bytes come out. No socket, no
// thread, no clock, and so the same twice.
#include "server/core.h"

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "memory_transport.h"
#include "support.h"
#include "wire/messages.h"

using namespace rdzv;
using namespace rdzv::test;
using native::Operation;
using std::chrono::milliseconds;

namespace {

class World;

// A native client: requests go out, answers are taken apart.
class MemoryPeer {
 public:
  MemoryPeer(World& world, const std::string& name,
             const std::string& greeting = native_greeting());

  template <typename Request>
  uint64_t ask(const Request& request);
  void send(Bytes bytes);
  void hang_up();

  // The answer to that request: its status, and what it says. It has to be there.
  template <typename Request>
  typename Request::Is::Reply answer(uint64_t id, ErrorCode expected = ErrorCode::kOk);
  // The text of an error's answer.
  std::string error(uint64_t id);
  bool has_answer(uint64_t id);

  MemoryTransport transport;
  std::string all;  // that was ever received

 private:
  native::Frame find(uint64_t id);

  World& world_;
  Connection* connection_;
  uint64_t last_id_ = 0;
  std::vector<Bytes> strings_;
};

class World {
 public:
  MemoryPeer& newcomer(const std::string& name, const std::string& greeting = native_greeting()) {
    return *peers.emplace_back(std::make_unique<MemoryPeer>(*this, name, greeting));
  }
  void turn() {
    while (core.end_turn(time)) {
    }
  }
  void wait(Duration duration) {
    time.now += duration;
    time.awake += duration;
    core.run_due(time, time);
    turn();
  }

  std::vector<std::unique_ptr<MemoryPeer>> peers;
  ServerCore core{{}, "server test", HashSeed{1, 2}, {7, 7, 7}};
  Moment time{Instant(std::chrono::hours(1)), Instant(std::chrono::hours(1))};
  std::set<Operation> asked;
};

MemoryPeer::MemoryPeer(World& world, const std::string& name, const std::string& greeting)
    : world_(world) {
  transport.name = name;
  connection_ = &world.core.connect(transport, world.time);
  send(greeting);
}

void MemoryPeer::send(Bytes bytes) {
  REQUIRE(connection_->wants_input());
  world_.core.receive(*connection_, bytes, world_.time);
  world_.turn();
}

void MemoryPeer::hang_up() {
  world_.core.end_of_stream(*connection_, world_.time);
  world_.turn();
}

template <typename Request>
uint64_t MemoryPeer::ask(const Request& request) {
  world_.asked.insert(Request::Is::kOperation);
  std::string body;
  native::put(body, request);
  send(native_frame(Request::Is::kOperation, ++last_id_, body));
  return last_id_;
}

native::Frame MemoryPeer::find(uint64_t id) {
  all += transport.read();
  native::Frame found;
  for (Bytes rest = all; !rest.empty();) {
    native::Frame frame;
    REQUIRE(native::next_frame(rest, frame) == native::Progress::kTaken);
    if (frame.header.id == id) found = frame;
    rest.remove_prefix(native::kHeaderBytes + frame.body.size());
  }
  return found;
}

bool MemoryPeer::has_answer(uint64_t id) {
  return find(id).header.operation != 0;
}

template <typename Request>
typename Request::Is::Reply MemoryPeer::answer(uint64_t id, ErrorCode expected) {
  const native::Frame frame = find(id);
  REQUIRE(frame.header.operation ==
          (static_cast<uint8_t>(Request::Is::kOperation) | native::kReplyBit));
  typename Request::Is::Reply reply;
  REQUIRE(frame.header.status == static_cast<uint8_t>(expected));
  if (expected == ErrorCode::kOk) REQUIRE(native::take(frame.body, reply, &strings_));
  return reply;
}

std::string MemoryPeer::error(uint64_t id) {
  native::ErrorReply reply;
  REQUIRE(native::take(find(id).body, reply));
  return std::string(reply.message);
}

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

// All bytes that anybody was sent.
std::string play(World& world) {
  MemoryPeer& a = world.newcomer("10.0.0.1:1");
  MemoryPeer& b = world.newcomer("10.0.0.2:1");
  world.asked.insert(Operation::kHello);
  play_store(world, a, b);
  play_endings(world, a, b);
  play_run(world, a);
  play_c10d(world);
  std::string bytes;
  for (const auto& peer : world.peers) bytes += peer->all + peer->transport.sent + '|';
  return bytes;
}

}  // namespace

TEST_CASE("a server's core does the same twice, through every operation") {
  World first;
  const std::string bytes = play(first);
  native::for_each_request([&]<typename Request>(Request*) {
    CHECK_MESSAGE(first.asked.contains(Request::Is::kOperation), Request::Is::kName);
  });
  World second;
  CHECK((play(second) == bytes));
}

TEST_CASE("a server's core that has nothing to do says so") {
  World world;
  CHECK(world.core.next() == Timers::kNever);
  MemoryPeer& peer = world.newcomer("10.0.0.1:1", "");
  CHECK(world.core.next() == world.time.now + milliseconds(world.core.limits().greeting_ms));
  peer.send(native_greeting());
  const uint64_t waits = peer.ask(native::GetRequest{native::kNoTimeout, {"/k"}});
  world.wait(std::chrono::hours(24));
  CHECK(world.core.next() == Timers::kNever);
  CHECK_FALSE(peer.has_answer(waits));
}

TEST_CASE("who judges peers goes by the time in which they could be heard") {
  World world;
  MemoryPeer& peer = world.newcomer("10.0.0.1:1");
  peer.ask(native::SetForRequest{50, {"/k"}, {"v"}});
  // The server was stopped, and goes on: what renews the key may lie unread.
  world.time.now += std::chrono::hours(1);
  world.core.run_due(world.time, world.time);
  world.turn();
  CHECK(peer.answer<native::TryGetRequest>(peer.ask(native::TryGetRequest{{"/k"}})).version == 1);
  world.wait(milliseconds(50));
  CHECK(peer.answer<native::TryGetRequest>(peer.ask(native::TryGetRequest{{"/k"}})).version == 0);
}
