// What the tests of the event loop play with: a pair of sockets, and a handler that calls a
// function.
#pragma once

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <functional>
#include <utility>

#include "base/fd.h"
#include "net/event_loop.h"
#include "net/socket.h"

namespace rdzv::test {

// A connected pair of sockets; `near` is watched, `far` makes things happen.
struct Pair {
  UniqueFd near, far;
  Pair() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    near.reset(ends[0]);
    far.reset(ends[1]);
  }
  void make_readable() { REQUIRE(send_some(far.get(), "x") == 1); }
};

class Handler final : public EventHandler {
 public:
  using Callback = std::function<void(bool readable, bool writable)>;
  explicit Handler(Callback callback) : callback_(std::move(callback)) {}
  ~Handler() override {
    if (gone != nullptr) *gone = true;
  }
  void on_ready(bool readable, bool writable) override {
    ++calls;
    callback_(readable, writable);
  }
  void on_refused(int error) override { refused = error; }

  int calls = 0;
  int refused = 0;
  bool* gone = nullptr;

 private:
  Callback callback_;
};

}  // namespace rdzv::test
