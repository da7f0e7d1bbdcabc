// The event loop when it did not run for a while, as a process that was stopped: a handler that
// does not return is such a stall. What came meanwhile is handled before the timers that became
// due, and nobody is judged by time in which the loop could not listen. The tests compare orders,
// not times.
#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "event_loop_scene.h"
#include "net/event_loop.h"
#include "net/socket.h"

using namespace rdzv;
using namespace rdzv::test;
using std::chrono::milliseconds;

namespace {

void sleep_past(Instant at) {
  while (now() < at) std::this_thread::sleep_for(milliseconds(1));
}

// Two pairs of sockets: the loop stalls in the handler of the first, and meanwhile the second
// becomes readable.
struct Stall {
  EventLoop loop;
  Pair first, second;
  std::string order;
  std::function<void()> during;
  Handler stalls{[this](bool, bool) {
    loop.unwatch(stalls);
    during();
    second.make_readable();
  }};
  Handler reads{[this](bool, bool) {
    loop.unwatch(reads);
    order += "read ";
  }};

  void run() {
    loop.watch(first.near.get(), Interest::kRead, stalls);
    loop.watch(second.near.get(), Interest::kRead, reads);
    first.make_readable();
    loop.run();
  }
};

}  // namespace

TEST_CASE("a timer that became due in a stall runs after what came meanwhile was read") {
  for (bool judges : {false, true}) {
    Stall stall;
    Instant due = now() + milliseconds(50);
    auto timer = [&] {
      stall.order += "timer ";
      stall.loop.stop();
    };
    if (judges) {
      stall.loop.call_awake_at(stall.loop.awake(due), timer);
    } else {
      stall.loop.call_at(due, timer);
    }
    stall.during = [&] { sleep_past(due); };
    stall.run();
    CHECK(stall.order == "read timer ");
  }
}

TEST_CASE("a timer that became due in a stall runs after what a new descriptor brought was read") {
  EventLoop loop;
  Pair listener, accepted;
  std::string order;
  Instant due = now() + milliseconds(50);
  Handler reads([&](bool, bool) {
    loop.unwatch(reads);
    order += "read ";
  });
  Handler accepts([&](bool, bool) {
    loop.unwatch(accepts);
    sleep_past(due);
    accepted.make_readable();
    loop.watch(accepted.near.get(), Interest::kRead, reads);
  });
  loop.watch(listener.near.get(), Interest::kRead, accepts);
  listener.make_readable();
  loop.call_at(due, [&] {
    order += "timer ";
    loop.stop();
  });
  loop.run();
  CHECK(order == "read timer ");
}

TEST_CASE("a timer waits for a handler that left bytes unread, or has no more turn left") {
  for (bool by_turn : {false, true}) {
    EventLoop loop;
    Pair pair;
    std::string order;
    Instant due = now() + milliseconds(20);
    auto read_one = [&] {
      char byte = 0;
      if (receive_some(pair.near.get(), &byte, 1) != 1) return false;
      order += byte;
      return true;
    };
    Handler handler([&](bool, bool) {
      if (order.empty()) sleep_past(due);
      if (read_one() && !by_turn) loop.call_again(handler);
    });
    if (by_turn) loop.set_end_of_turn([&] { return !order.empty() && read_one(); });
    loop.watch_events(pair.near.get(), Interest::kRead, handler);
    REQUIRE(send_some(pair.far.get(), "abcd") == 4);
    loop.call_at(due, [&] {
      order += " timer";
      loop.stop();
    });
    loop.run();
    CHECK(order == "abcd timer");
  }
}

TEST_CASE("a flood does not put a timer off for ever") {
  for (bool judges : {false, true}) {
    EventLoop loop;
    Pair pair;
    pair.make_readable();
    Handler flood([&](bool, bool) { loop.call_again(flood); });
    loop.watch_events(pair.near.get(), Interest::kRead, flood);
    auto timer = [&] { loop.stop(); };
    if (judges) {
      loop.call_awake_at(loop.awake_now(), timer);
    } else {
      loop.call_at(now(), timer);
    }
    loop.run();
    CHECK(flood.calls > 1);
  }
}

TEST_CASE("whoever is judged has its time again after a stall, for a round trip") {
  Stall stall;
  // The peer's answer to what the loop says after the stall.
  Pair peer;
  Handler hears([&](bool, bool) {
    stall.loop.unwatch(hears);
    stall.order += "answer ";
  });
  stall.loop.watch(peer.near.get(), Interest::kRead, hears);
  std::thread answers;
  stall.loop.call_awake_at(stall.loop.awake_now() + milliseconds(300), [&] {
    stall.order += "judged";
    stall.loop.stop();
  });
  stall.during = [&] {
    sleep_past(now() + milliseconds(1500));
    stall.loop.post([&] {
      answers = std::thread([&] {
        sleep_past(now() + milliseconds(20));
        peer.make_readable();
      });
    });
  };
  stall.run();
  answers.join();
  CHECK(stall.order == "read answer judged");
}

TEST_CASE("the clock that judges stands still in a stall and goes on after it") {
  EventLoop loop;
  Pair pair;
  const Instant begin = loop.awake_now();
  const Instant real_begin = now();
  Duration in_turn{}, after{};
  Handler stalls([&](bool, bool) {
    loop.unwatch(stalls);
    sleep_past(now() + milliseconds(1000));
    in_turn = loop.awake_now() - begin;
  });
  loop.watch(pair.near.get(), Interest::kRead, stalls);
  pair.make_readable();
  loop.call_at(real_begin + milliseconds(1100), [&] {
    after = loop.awake_now() - begin;
    loop.stop();
  });
  loop.run();
  Duration real = now() - real_begin;
  CHECK(in_turn <= real - milliseconds(800));
  CHECK(after <= real - milliseconds(800));
  CHECK(after > in_turn);
}

TEST_CASE("the time of a judge comes, where there is no stall, with that of any other timer") {
  EventLoop loop;
  std::string order;
  Instant begin = now();
  loop.call_awake_at(loop.awake(begin + milliseconds(30)), [&] { order += "b"; });
  loop.call_at(begin + milliseconds(10), [&] { order += "a"; });
  loop.call_at(begin + milliseconds(1500), [&] {
    order += "c";
    loop.stop();
  });
  loop.run();
  CHECK(order == "abc");
}

TEST_CASE("a judging timer can be cancelled") {
  EventLoop loop;
  bool ran = false;
  EventLoop::TimerId timer = loop.call_awake_at(loop.awake_now(), [&] { ran = true; });
  loop.cancel(timer);
  loop.call_awake_at(loop.awake_now() + milliseconds(1), [&] { loop.stop(); });
  loop.run();
  CHECK_FALSE(ran);
}

TEST_CASE("of a handler that runs out of memory the others hear nothing") {
  EventLoop loop;
  Pair greedy_pair, other_pair;
  Handler greedy([&](bool, bool) { throw std::bad_alloc(); });
  Handler other([&](bool, bool) {
    if (greedy.refused != 0) loop.stop();
  });
  loop.watch(greedy_pair.near.get(), Interest::kRead, greedy);
  loop.watch(other_pair.near.get(), Interest::kRead, other);
  greedy_pair.make_readable();
  other_pair.make_readable();
  loop.run();
  CHECK(greedy.calls == 1);
  CHECK(greedy.refused == ENOMEM);
}
