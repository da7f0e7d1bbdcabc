// A native client's core whose peer, and whose clock, the test plays.
#pragma once

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "client/core.h"
#include "support.h"
#include "wire/messages.h"

namespace rdzv::test {

inline std::string answer(native::Operation operation, uint64_t id, Bytes body = {},
                          ErrorCode status = ErrorCode::kOk) {
  std::string frame = native_frame(operation, id, body);
  frame[4] = static_cast<char>(frame[4] | static_cast<char>(native::kReplyBit));
  frame[5] = static_cast<char>(status);
  return frame;
}

inline std::string hello_answer(uint8_t instance = 7) {
  native::HelloReply hello;
  hello.instance.fill(instance);
  hello.observed_address = {"10.0.0.1"};
  std::string body;
  native::put(body, hello);
  return answer(native::Operation::kHello, 0, body);
}

inline std::string error_body(Bytes message) {
  std::string body;
  native::put(body, native::ErrorReply{{message}, {}});
  return body;
}

// Says when it is over.
struct Call : ClientCore::Call {
  explicit Call(native::Operation called, std::vector<const Call*>* log = nullptr)
      : ClientCore::Call(called), over(log) {}
  void on_over() override {
    if (over != nullptr) over->push_back(this);
  }
  std::vector<const Call*>* over;
};

struct Scene {
  ClientCore core{{1, 2, 3}, "a test"};
  Instant now{std::chrono::hours(1)};

  explicit Scene(bool greets = true) {
    if (!greets) return;
    take_sent();
    core.receive(hello_answer(), now);
    REQUIRE(core.state() == ClientCore::State::kOpen);
  }
  // What leaves, up to so many bytes.
  std::string take_sent(size_t most = SIZE_MAX) {
    std::string sent;
    while (sent.size() < most && !core.to_send().empty()) {
      const Bytes out = core.to_send().substr(0, most - sent.size());
      sent.append(out);
      core.on_sent(out.size(), now);
    }
    return sent;
  }
  // The ids and operations of the frames that leave.
  std::vector<std::pair<native::Operation, uint64_t>> take_frames() {
    std::vector<std::pair<native::Operation, uint64_t>> frames;
    const std::string sent = take_sent();
    for (Bytes rest = sent; !rest.empty();) {
      native::Frame frame;
      REQUIRE(native::next_frame(rest, frame) == native::Progress::kTaken);
      frames.emplace_back(static_cast<native::Operation>(frame.header.operation), frame.header.id);
      rest.remove_prefix(native::kHeaderBytes + frame.body.size());
    }
    return frames;
  }
  void receive(Bytes bytes) { core.receive(bytes, now); }
  void send(Call& call, Bytes body = {}) { core.send(call, body, now); }
};

using Frames = std::vector<std::pair<native::Operation, uint64_t>>;

}  // namespace rdzv::test
