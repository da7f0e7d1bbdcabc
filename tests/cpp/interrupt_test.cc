// Signal handlers run only where nothing of ours is held: the types that see to it.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <functional>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/mutex.h"
#include "client_scene.h"
#include "fake_server.h"
#include "store/hash_store.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

// How a child process ends that asks for signals while it holds what `hold_and_ask` takes.
int end_of(const std::function<void()>& hold_and_ask) {
  pid_t child = ::fork();
  if (child == 0) {
    std::freopen("/dev/null", "w", stderr);
    ::signal(SIGABRT, SIG_DFL);
    hold_and_ask();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

// What runs in place of a handler, once, on the thread that blocks in `call`.
std::function<void()> handler;
std::atomic<int> handled{0};
thread_local bool is_main = false;

bool run_handler() {
  if (!is_main || handled++ > 0) return false;
  handler();
  return false;
}

void with_handler(const std::function<void()>& handle, const std::function<void()>& call) {
  handler = handle;
  handled = 0;
  is_main = true;
  set_interrupt_check(&run_handler);
  call();
  set_interrupt_check(nullptr);
  is_main = false;
  CHECK(handled > 0);
}

}  // namespace

TEST_CASE("asking for signals with a lock or a role held is a broken invariant") {
  CHECK(end_of([] { throw_if_interrupted(); }) == 0);
  CHECK(end_of([] {
          Mutex mutex;
          Lock lock(mutex);
          throw_if_interrupted();
        }) == SIGABRT);
  CHECK(end_of([] {
          HeldRole role;
          throw_if_interrupted();
        }) == SIGABRT);
  CHECK(end_of([] {
          Mutex mutex;
          Lock lock(mutex);
          throw_if_interrupted(lock);
        }) == 0);
  CHECK(end_of([] {
          Mutex one;
          Mutex other;
          Lock first(one);
          Lock second(other);
          throw_if_interrupted(second);
        }) == SIGABRT);
}

TEST_CASE("a lock that was let go for handlers is held again, also when one of them throws") {
  set_interrupt_check([] { return true; });
  Mutex mutex;
  Lock lock(mutex);
  CHECK_THROWS_AS(throw_if_interrupted(lock), Error);
  set_interrupt_check(nullptr);
  CHECK(lock.owns_lock());
  lock.unlock();
  CHECK(held_by_this_thread == 0);
}

TEST_CASE("a handler that calls the store does what the interrupted call waits for") {
  auto host = hosting_store();
  std::vector<std::shared_ptr<Store>> stores = {std::make_shared<HashStore>(), client_of(*host),
                                                client_of(*host, TCPStore::Protocol::kC10d)};
  for (size_t i = 0; i < stores.size(); ++i) {
    Store& store = *stores[i];
    std::string key = "k" + std::to_string(i);
    with_handler([&] { store.set(key, "v"); }, [&] { CHECK(store.get(key, kHang) == "v"); });
    with_handler([&] { store.queue_push(key + "q", "i"); },
                 [&] { CHECK(store.queue_pop(key + "q", true, kHang) == "i"); });
    with_handler([&] { store.barrier(key + "b", 2, kHang); },
                 [&] { store.barrier(key + "b", 2, kHang); });
  }
}

TEST_CASE("an answer that came while a handler took longer than the call's time is an answer") {
  auto host = hosting_store();
  auto store = client_of(*host);
  auto other = client_of(*host);
  const Duration timeout = 2 * kInterruptSlice;
  // A slow machine may set the value too late; not each time.
  std::string value;
  for (int attempt = 0; attempt < 50 && value.empty(); ++attempt) {
    store->delete_key("k");
    with_handler(
        [&] {
          const Deadline end = Deadline::after(2 * timeout);
          other->set("k", "v");
          while (!end.passed()) std::this_thread::sleep_for(kInterruptSlice);
        },
        [&] {
          Error error = error_of([&] { value = store->get("k", timeout); });
          CHECK((error.code() == ErrorCode::kOk || error.code() == ErrorCode::kTimeout));
        });
  }
  CHECK(value == "v");
}

TEST_CASE("the reader's place is free while its thread's handler runs") {
  auto host = hosting_store();
  auto store = client_of(*host);
  store->set("there", "x");
  with_handler(
      [&] {
        std::string failure = on_threads(4, [&](int i) {
          for (int n = 0; n < 50; ++n)
            expect(store->get("there", kHang) == "x", "thread " + std::to_string(i));
        });
        CHECK(failure.empty());
        store->set("k", "v");
      },
      [&] { CHECK(store->get("k", kHang) == "v"); });
}

TEST_CASE("an item that came while a handler ran that ends the call is not lost") {
  auto host = hosting_store();
  auto store = client_of(*host);
  auto other = client_of(*host);
  // Reads the connection while the handler runs, and so finds the item.
  std::thread reader([&] { store->wait({"item is read"}, kHang); });
  static std::function<void()> give;
  give = [&] {
    other->queue_push("q", "item");
    store->get("nothing", Duration::zero());
  };
  is_main = true;
  set_interrupt_check([] {
    if (!std::exchange(is_main, false)) return false;
    try {
      give();
    } catch (const Error&) {
    }
    return true;
  });
  CHECK_THROWS_AS(store->queue_pop("q", true, kHang), Error);
  set_interrupt_check(nullptr);
  CHECK(store->queue_pop("q", true, kHang) == "item");
  other->set("item is read", "");
  reader.join();
}
