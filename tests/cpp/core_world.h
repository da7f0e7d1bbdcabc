// The server's core in memory, with clients: bytes, times and closings go in, bytes come out. No
// socket, no thread, no clock.
#pragma once

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "memory_transport.h"
#include "server/core.h"
#include "support.h"
#include "wire/messages.h"

namespace rdzv::test {

class World;

// A native client: requests go out, answers are taken apart.
class MemoryPeer {
 public:
  MemoryPeer(World& world, const std::string& name,
             const std::string& greeting = native_greeting());

  template <typename Request>
  uint64_t ask(const Request& request, uint16_t channel = 0);
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
  std::set<native::Operation> asked;
};

inline MemoryPeer::MemoryPeer(World& world, const std::string& name, const std::string& greeting)
    : world_(world) {
  transport.name = name;
  connection_ = &world.core.connect(transport, world.time);
  send(greeting);
}

inline void MemoryPeer::send(Bytes bytes) {
  REQUIRE(connection_->wants_input());
  world_.core.receive(*connection_, bytes, world_.time);
  world_.turn();
}

inline void MemoryPeer::hang_up() {
  world_.core.end_of_stream(*connection_, world_.time);
  world_.turn();
}

template <typename Request>
uint64_t MemoryPeer::ask(const Request& request, uint16_t channel) {
  world_.asked.insert(Request::Is::kOperation);
  std::string body;
  native::put(body, request);
  send(native_frame(Request::Is::kOperation, ++last_id_, body, channel));
  return last_id_;
}

inline native::Frame MemoryPeer::find(uint64_t id) {
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

inline bool MemoryPeer::has_answer(uint64_t id) {
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

inline std::string MemoryPeer::error(uint64_t id) {
  native::ErrorReply reply;
  REQUIRE(native::take(find(id).body, reply));
  return std::string(reply.message);
}

// Asks for every operation, over both protocols, and returns all bytes that anybody was sent.
std::string play(World& world);

}  // namespace rdzv::test
