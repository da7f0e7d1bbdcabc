// The event loop: descriptors, timers, tasks from other threads, and handlers that go away inside
// callbacks. Most tests run the loop on the test's own thread until a callback stops it.
#include "net/event_loop.h"

#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "event_loop_scene.h"
#include "net/socket.h"
#include "support.h"

using namespace rdzv;
using namespace rdzv::test;

TEST_CASE("a readable descriptor calls its handler") {
  EventLoop loop;
  Pair pair;
  Handler handler([&](bool readable, bool writable) {
    CHECK(readable);
    CHECK_FALSE(writable);
    loop.stop();
  });
  loop.watch(pair.near.get(), Interest::kRead, handler);
  pair.make_readable();
  loop.run();
  CHECK(handler.calls == 1);
}

TEST_CASE("interest decides what is reported") {
  EventLoop loop;
  Pair pair;
  pair.make_readable();
  std::string seen;
  Handler handler([&](bool readable, bool writable) {
    seen += std::string(readable ? "r" : "-") + (writable ? "w" : "-") + " ";
    if (seen.size() == 3) loop.set_interest(handler, Interest::kWrite);
    if (seen.size() == 6) loop.set_interest(handler, Interest::kBoth);
    if (seen.size() == 9) loop.stop();
  });
  loop.watch(pair.near.get(), Interest::kRead, handler);
  loop.run();
  CHECK(seen == "r- -w rw ");
}

TEST_CASE("a peer that is gone makes its handler readable, or writable if only that is wanted") {
  for (Interest interest : {Interest::kRead, Interest::kWrite}) {
    EventLoop loop;
    Pair pair;
    Handler handler([&](bool readable, bool writable) {
      CHECK(readable == (interest == Interest::kRead));
      CHECK(writable == (interest == Interest::kWrite));
      loop.stop();
    });
    loop.watch(pair.near.get(), interest, handler);
    pair.far.reset();
    loop.run();
    CHECK(handler.calls == 1);
  }
}

TEST_CASE("a handler of events that leaves bytes unread is called for them when it says so") {
  EventLoop loop;
  Pair pair;
  std::string received;
  Handler handler([&](bool, bool) {
    char byte = 0;
    REQUIRE(receive_some(pair.near.get(), &byte, 1) == 1);
    received += byte;
    if (received.size() == 3) return loop.stop();
    loop.call_again(handler);
  });
  loop.watch_events(pair.near.get(), Interest::kRead, handler);
  REQUIRE(send_some(pair.far.get(), "abc") == 3);
  loop.run();
  CHECK(received == "abc");
}

TEST_CASE("a handler of events is called for the end of the stream, also if bytes came with it") {
  for (bool is_interested : {true, false}) {
    EventLoop loop;
    Pair pair;
    std::string seen;
    char buffer[16];
    Handler handler([&](bool, bool) {
      long received = receive_some(pair.near.get(), buffer, sizeof(buffer));
      seen += received == kBroken ? "end" : "bytes ";
      if (received == kBroken) return loop.stop();
      if (is_interested) return;
      // As a server does whose peer does not read its answers, for a while.
      loop.set_interest(handler, Interest::kNone);
      loop.post([&] { loop.set_interest(handler, Interest::kRead); });
    });
    loop.watch_events(pair.near.get(), Interest::kRead, handler);
    pair.make_readable();
    pair.far.reset();
    loop.run();
    CHECK(seen == "bytes end");
  }
}

TEST_CASE("a handler of events is called for what came while it had no interest") {
  EventLoop loop;
  Pair pair;
  std::string seen;
  Handler handler([&](bool readable, bool writable) {
    seen += std::string(readable ? "r" : "-") + (writable ? "w" : "-") + " ";
    if (seen.size() == 6) return loop.stop();
    pair.make_readable();
    loop.set_interest(handler, Interest::kRead);
  });
  loop.watch_events(pair.near.get(), Interest::kWrite, handler);
  loop.run();
  CHECK(seen == "-w r- ");
}

TEST_CASE("a handler may unwatch itself in its callback") {
  EventLoop loop;
  Pair pair;
  pair.make_readable();  // and nobody reads it
  Handler handler([&](bool, bool) {
    loop.unwatch(handler);
    loop.post([&] { loop.stop(); });  // some turns later
  });
  loop.watch(pair.near.get(), Interest::kRead, handler);
  loop.run();
  CHECK(handler.calls == 1);
}

TEST_CASE("a handler that was unwatched may watch again") {
  EventLoop loop;
  Pair first, second;
  first.make_readable();
  second.make_readable();
  Handler handler([&](bool, bool) {
    loop.unwatch(handler);
    if (handler.calls == 2) return loop.stop();
    loop.watch(second.near.get(), Interest::kRead, handler);
  });
  loop.watch(first.near.get(), Interest::kRead, handler);
  loop.run();
  CHECK(handler.calls == 2);
}

TEST_CASE("of several ready handlers, one may unwatch the others in its callback") {
  EventLoop loop;
  std::vector<Pair> pairs(3);
  std::vector<std::unique_ptr<Handler>> handlers;
  int calls = 0;
  for (Pair& pair : pairs) {
    handlers.push_back(std::make_unique<Handler>([&](bool, bool) {
      ++calls;
      for (auto& handler : handlers) loop.unwatch(*handler);
      loop.stop();
    }));
    loop.watch(pair.near.get(), Interest::kRead, *handlers.back());
    pair.make_readable();
  }
  loop.run();
  CHECK(calls == 1);
}

TEST_CASE("what is retired in a callback lives to the end of the turn and is not called again") {
  EventLoop loop;
  std::vector<Pair> pairs(3);
  std::vector<std::unique_ptr<Handler>> handlers;
  int calls = 0;
  bool gone = false;
  bool gone_at_end_of_turn = false;
  loop.set_end_of_turn([&] {
    gone_at_end_of_turn = gone;
    return false;
  });
  for (Pair& pair : pairs) {
    handlers.push_back(std::make_unique<Handler>([&](bool, bool) {
      ++calls;
      for (auto& handler : handlers) loop.retire(std::move(handler));
      handlers.clear();
      CHECK_FALSE(gone);
      loop.stop();
    }));
    handlers.back()->gone = &gone;
    loop.watch(pair.near.get(), Interest::kRead, *handlers.back());
    pair.make_readable();
  }
  loop.run();
  CHECK(calls == 1);
  CHECK_FALSE(gone_at_end_of_turn);
  CHECK(gone);
}

TEST_CASE("a handler that goes may retire another") {
  EventLoop loop;
  struct Parent final : EventHandler {
    EventLoop& loop;
    std::unique_ptr<EventHandler> child;
    explicit Parent(EventLoop& of) : loop(of) {}
    ~Parent() override { loop.retire(std::move(child)); }
    void on_ready(bool, bool) override {}
    void on_refused(int) override {}
  };
  bool gone = false;
  auto child = std::make_unique<Handler>([](bool, bool) {});
  child->gone = &gone;
  auto parent = std::make_unique<Parent>(loop);
  parent->child = std::move(child);
  loop.retire(std::move(parent));
  loop.post([&] { loop.post([&] { loop.stop(); }); });
  loop.run();
  CHECK(gone);
}

TEST_CASE("timers run in the order of their times, and then of their making") {
  EventLoop loop;
  std::string order;
  Instant begin = now();
  auto at = [&](int ms, const char* name) {
    loop.call_at(begin + std::chrono::milliseconds(ms), [&order, name] { order += name; });
  };
  at(20, "d");
  at(10, "b");
  at(-5, "a");
  at(10, "c");
  loop.call_at(begin + std::chrono::milliseconds(30), [&] { loop.stop(); });
  loop.run();
  CHECK(order == "abcd");
  CHECK(now() - begin >= std::chrono::milliseconds(30));
}

TEST_CASE("a timer can be cancelled, also by another and also when it has run") {
  EventLoop loop;
  bool ran = false;
  EventLoop::TimerId second;
  EventLoop::TimerId first = loop.call_at(now(), [&] { loop.cancel(second); });
  second = loop.call_at(now(), [&] { ran = true; });
  loop.call_at(now() + std::chrono::milliseconds(1), [&] {
    loop.cancel(first);
    loop.stop();
  });
  loop.run();
  CHECK_FALSE(ran);
}

TEST_CASE("a timer may make another that is due at once") {
  EventLoop loop;
  int left = 100;
  std::function<void()> again = [&] {
    if (--left == 0) return loop.stop();
    loop.call_at(now(), again);
  };
  loop.call_at(now(), again);
  loop.run();
  CHECK(left == 0);
}

TEST_CASE("tasks posted by other threads all run, each thread's in its order") {
  EventLoop loop;
  constexpr int kThreads = 4, kTasks = 5000;
  std::vector<std::vector<int>> seen(kThreads);
  int left = kThreads * kTasks;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kTasks; ++i) {
        loop.post([&, thread, i] {
          seen[static_cast<size_t>(thread)].push_back(i);
          if (--left == 0) loop.stop();
        });
      }
    });
  }
  loop.run();
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<int>& one : seen) {
    REQUIRE(one.size() == kTasks);
    for (int i = 0; i < kTasks; ++i) REQUIRE(one[static_cast<size_t>(i)] == i);
  }
}

TEST_CASE("the end of the turn comes after its events, tasks and timers, and before sleep") {
  EventLoop loop;
  Pair pair;
  std::string order;
  Handler handler([&](bool, bool) {
    order += "event ";
    loop.unwatch(handler);
    loop.stop();
  });
  loop.call_at(now(), [&] { order += "timer "; });
  loop.set_end_of_turn([&] {
    order += "end ";
    return false;
  });
  loop.watch(pair.near.get(), Interest::kRead, handler);
  pair.make_readable();
  loop.run();
  // stop() is a posted task, which this turn or the next one runs.
  CHECK(order.starts_with("event timer end"));
}

TEST_CASE("the loop does not sleep while the end of the turn has more to do") {
  EventLoop loop;
  int turns = 0;
  loop.set_end_of_turn([&] {
    if (++turns == 5) loop.stop();
    return turns < 5;
  });
  loop.post([] {});  // ends its first sleep
  loop.run();
  CHECK(turns >= 5);
}

TEST_CASE("an urgent handler is called before all others of the turn") {
  EventLoop loop;
  std::vector<Pair> pairs(3);
  std::string order;
  std::vector<std::unique_ptr<Handler>> handlers;
  for (size_t i = 0; i < pairs.size(); ++i) {
    handlers.push_back(std::make_unique<Handler>([&, i](bool, bool) {
      order += static_cast<char>('0' + i);
      loop.unwatch(*handlers[i]);
      if (order.size() == pairs.size()) loop.stop();
    }));
    if (i == 2) {
      loop.watch_urgent(pairs[i].near.get(), Interest::kRead, *handlers[i]);
    } else {
      loop.watch(pairs[i].near.get(), Interest::kRead, *handlers[i]);
    }
    pairs[i].make_readable();
  }
  loop.run();
  CHECK(order.starts_with('2'));
}

TEST_CASE("stop from another thread ends a loop that sleeps, or has not begun") {
  for (int round = 0; round < 200; ++round) {
    EventLoop loop;
    std::thread stopper([&] { loop.stop(); });
    loop.run();
    stopper.join();
  }
}

TEST_CASE("stop runs what was posted before it") {
  EventLoop loop;
  int ran = 0;
  for (int i = 0; i < 10; ++i) loop.post([&] { ++ran; });
  loop.stop();
  loop.run();
  CHECK(ran == 10);
}
