// Several channels on one connection: each has its own turn, ids, nodes and unread answers, and none
// holds up another. In memory.
#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

#include "core_world.h"
#include "wire/limits.h"

using namespace rdzv;
using namespace rdzv::test;
using native::kNoTimeout;
using native::Operation;
using std::chrono::milliseconds;

namespace {

template <typename Request>
std::string request(uint16_t channel, uint64_t id, const Request& body) {
  std::string bytes;
  native::put(bytes, body);
  return native_frame(Request::Is::kOperation, id, bytes, channel);
}

std::string ping(uint16_t channel, uint64_t id) {
  return request(channel, id, native::PingRequest{});
}

// One connection, of which a test says when its turns end and how much its peer reads.
class Line {
 public:
  Line() {
    connection_ = &world.core.connect(transport, world.time);
    send(native_greeting());
    rest();
    take();
  }

  void send(Bytes bytes) {
    REQUIRE(connection_->wants_input());
    world.core.receive(*connection_, bytes, world.time);
  }
  bool end_turn() { return world.core.end_turn(world.time); }
  // Turns until there is nothing to do.
  void rest() { world.turn(); }
  bool wants_input() const { return connection_->wants_input(); }
  // The peer reads all that is there, until nothing comes any more.
  void read_all() {
    transport.room = SIZE_MAX;
    world.core.resume_sending(*connection_, world.time);
    rest();
  }

  struct Answer {
    uint16_t channel;
    uint64_t id;
    ErrorCode status;

    bool operator==(const Answer&) const = default;
  };
  // Those that have come, in their order.
  std::vector<Answer> take() {
    rest_ += transport.read();
    std::vector<Answer> answers;
    native::Frame frame;
    Bytes left = rest_;
    while (native::next_frame(left, frame) == native::Progress::kTaken) {
      answers.push_back(
          {frame.header.channel, frame.header.id, static_cast<ErrorCode>(frame.header.status)});
      left.remove_prefix(native::kHeaderBytes + frame.body.size());
    }
    rest_ = std::string(left);
    return answers;
  }
  bool has_key(Bytes key) { return world.core.state().table().find(key) != nullptr; }

  MemoryTransport transport;  // outlives the core
  World world;

 private:
  Connection* connection_;
  std::string rest_;
};

constexpr ErrorCode kOk = ErrorCode::kOk;
using Answers = std::vector<Line::Answer>;

void set_many(Line& line, size_t count) {
  std::vector<std::string> owned;
  for (size_t i = 0; i < count; ++i) owned.push_back("/many/" + std::to_string(i));
  std::vector<Bytes> pairs;
  for (const std::string& key : owned) pairs.insert(pairs.end(), {key, "v"});
  line.send(request(0, 1, native::MultiSetRequest{{pairs}}));
  line.rest();
  line.take();
}

std::string set(uint16_t channel, uint64_t id, Bytes key, Bytes value) {
  return request(channel, id, native::SetRequest{{key}, {value}});
}

// On a channel whose peer reads nothing: more answers than it may have unread.
void fill(Line& line, uint16_t channel) {
  const std::string large(1024 * 1024, 'v');
  line.send(set(0, 1, "/large", large));
  line.rest();
  line.take();
  line.transport.room = 0;
  for (uint64_t id = 10; id < 15; ++id)
    line.send(request(channel, id, native::GetRequest{0, {"/large"}}));
  line.rest();
}

}  // namespace

TEST_CASE("a list of many keys on one channel does not hold up a PING on another") {
  Line line;
  set_many(line, 100'000);
  for (const auto& [first, second] : {std::pair<uint16_t, uint16_t>{0, 2}, {1, 2}, {3, 0}}) {
    line.send(request(first, 1, native::ListKeysRequest{{"/"}}) + ping(first, 2) + ping(second, 3));
    CHECK(line.end_turn());
    CHECK(line.take() == Answers{{second, 3, kOk}});
    line.rest();
    CHECK(line.take() == Answers{{first, 1, kOk}, {first, 2, kOk}});
  }
}

TEST_CASE("a flood on one channel does not hold up a PING on another") {
  Line line;
  std::string flood;
  constexpr uint64_t kPings = 10'000;
  for (uint64_t id = 1; id <= kPings; ++id) flood += ping(1, id);
  line.send(flood + ping(2, 1));
  CHECK(line.end_turn());
  const Answers first = line.take();
  REQUIRE(first.size() < kPings);
  CHECK(first.back() != Line::Answer{1, kPings, kOk});
  CHECK(std::count(first.begin(), first.end(), Line::Answer{2, 1, kOk}) == 1);
  line.rest();
  CHECK(first.size() + line.take().size() == kPings + 1);
}

TEST_CASE("one request that costs much is a debt of its channel, not of the connection") {
  Line line;
  line.send(ping(2, 1));
  line.rest();
  line.take();
  std::vector<std::string> owned(20'000);
  for (size_t i = 0; i < owned.size(); ++i) owned[i] = "/k/" + std::to_string(i);
  std::vector<Bytes> pairs;
  for (const std::string& key : owned) pairs.insert(pairs.end(), {key, "v"});
  line.send(request(1, 1, native::MultiSetRequest{{pairs}}) + ping(1, 2));
  line.send(ping(2, 2));
  line.end_turn();
  const Answers first = line.take();
  CHECK(first == Answers{{1, 1, kOk}, {2, 2, kOk}});
  line.rest();
  CHECK(line.take() == Answers{{1, 2, kOk}});
}

TEST_CASE("many waits on one channel do not keep another from waiting") {
  Line line;
  std::string waits;
  const size_t most = line.world.core.limits().waits_per_connection;
  for (uint64_t id = 1; id <= most + 1; ++id)
    waits += request(1, id, native::GetRequest{kNoTimeout, {"/k"}});
  for (Bytes rest = waits; !rest.empty();) {
    const size_t some = std::min<size_t>(rest.size(), 64 * 1024);
    line.send(rest.substr(0, some));
    rest.remove_prefix(some);
    line.rest();
  }
  CHECK(line.take() == Answers{{1, most + 1, ErrorCode::kLimit}});
  line.send(request(2, 1, native::GetRequest{kNoTimeout, {"/k"}}));
  line.rest();
  CHECK(line.take().empty());
}

TEST_CASE("a channel whose answers are not read waits, and another is served") {
  Line line;
  fill(line, 1);
  line.send(set(1, 20, "/of 1", "v") + set(2, 21, "/of 2", "v"));
  line.rest();
  CHECK(line.has_key("/of 2"));
  CHECK_FALSE(line.has_key("/of 1"));
  line.read_all();
  CHECK(line.has_key("/of 1"));
  const Answers answers = line.take();
  CHECK(answers.size() == 7);
  CHECK(answers.back() == Line::Answer{1, 20, kOk});
}

TEST_CASE("what is put aside of one channel is bounded: then the connection is not read") {
  Line line;
  fill(line, 1);
  uint64_t id = 100;
  std::string chunk;
  for (size_t sent = 0; line.wants_input(); sent += chunk.size()) {
    REQUIRE(sent < 2 * limits::kChannelInputBytesMax);
    chunk = ping(1, ++id);
    line.send(chunk);
    line.rest();
  }
  CHECK((id - 100) * native::kHeaderBytes > limits::kChannelInputBytesMax / 2);
  line.read_all();
  CHECK(line.wants_input());
  const Answers answers = line.take();
  CHECK(answers.size() == 5 + (id - 100));
  CHECK(answers.back() == Line::Answer{1, id, kOk});
}

TEST_CASE("request ids are each channel's own, and CANCEL says whose it means") {
  Line line;
  const native::GetRequest get{kNoTimeout, {"/k"}};
  line.send(request(1, 1, get) + request(2, 1, get) + request(1, 1, get));
  line.rest();
  CHECK(line.take() == Answers{{1, 1, ErrorCode::kProtocol}});
  line.send(request(2, 9, native::CancelRequest{1, static_cast<native::RequestId>(1)}));
  line.send(set(0, 2, "/k", "v"));
  line.rest();
  CHECK(line.take() == Answers{{0, 2, kOk}, {2, 1, kOk}});
}

TEST_CASE("handles of nodes are each channel's own") {
  Line line;
  const native::RunSettings settings{2, 2, 1000, 1000, 3};
  const auto join = [&](uint16_t channel, Bytes name) {
    return request(channel, 1,
                   native::JoinRequest{kNoTimeout, {"run"}, {{name}, 1, 0}, settings, 0, 500, 1});
  };
  line.send(join(1, "a") + join(2, "b"));
  line.rest();
  CHECK(line.take() == Answers{{1, 1, kOk}, {2, 1, kOk}});
  const auto lost = [&] { return line.world.core.state().run("run")->lost().size(); };
  // The end of one of them is no end of the other's node.
  line.send(request(1, 2, native::CloseChannelRequest{}));
  line.rest();
  CHECK(lost() == 0);
  line.world.wait(milliseconds(500));
  CHECK(lost() == 1);
  CHECK(line.world.core.state().run("run")->participants().front().addr == "b");
}

TEST_CASE("a channel that is closed leaves nothing, and may be opened anew") {
  Line line;
  const native::BarrierRequest barrier{kNoTimeout, {"/b"}, 2, native::kRanklessCaller, 1, 0};
  line.send(request(5, 1, native::GetRequest{kNoTimeout, {"/k"}}) + request(5, 2, barrier));
  line.rest();
  CHECK(line.world.core.state().table().waiters() == 2);
  line.send(request(5, 3, native::CloseChannelRequest{}) + ping(5, 1) + ping(5, 2));
  line.rest();
  CHECK(line.take() == Answers{{5, 3, kOk}, {5, 1, kOk}, {5, 2, kOk}});
  CHECK(line.world.core.state().table().waiters() == 0);
  CHECK(line.world.core.state().table().find("/b")->bytes == "0");
  line.send(request(0, 1, native::CloseChannelRequest{}));
  line.rest();
  CHECK(line.take() == Answers{{0, 1, ErrorCode::kInvalidArgument}});
}

TEST_CASE("a connection has so many channels, and no more") {
  Line line;
  for (uint16_t channel = 1; channel < limits::kChannelsPerConnectionMax; ++channel)
    line.send(ping(channel, 1));
  line.rest();
  CHECK(line.take().size() == limits::kChannelsPerConnectionMax - 1);
  line.send(ping(1000, 1) + ping(1, 2));
  line.rest();
  CHECK(line.take() == Answers{{1000, 1, ErrorCode::kLimit}, {1, 2, kOk}});
  line.send(request(7, 2, native::CloseChannelRequest{}));
  line.rest();
  line.send(ping(1000, 2));
  line.rest();
  CHECK(line.take() == Answers{{7, 2, kOk}, {1000, 2, kOk}});
}

TEST_CASE("a connection that ends takes all its channels with it") {
  Line line;
  for (uint16_t channel = 0; channel < 20; ++channel)
    line.send(request(channel, 1, native::GetRequest{kNoTimeout, {"/k"}}));
  fill(line, 3);
  line.send(set(3, 20, "/late", "v"));
  line.rest();
  CHECK(line.world.core.state().table().waiters() == 20);
  MemoryPeer& other = line.world.newcomer("10.0.0.1:1");
  line.transport.room = SIZE_MAX;
  line.send(Fields().u32(300'000'000).u8(3).u8(0).u16(3).u64(1).bytes);
  line.rest();
  CHECK(line.transport.closed);
  CHECK(line.world.core.state().table().waiters() == 0);
  other.ask(native::PingRequest{});
}
