// What a forked child finds: stores and logs that other threads were using, and no locks of theirs.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/fork_hold.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/mutex.h"
#include "file_support.h"
#include "store/file_fd.h"
#include "store/hash_store.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

constexpr Duration kHang = std::chrono::seconds(120);
constexpr int kForks = 200;
// The thread sanitizer does not follow a child of a process with threads that starts its own.
#ifdef __SANITIZE_THREAD__
constexpr bool kChildHasThreads = false;
#else
constexpr bool kChildHasThreads = true;
#endif

// Runs `work` in a child, which is ended by a signal if it takes longer than a minute.
template <typename Work>
int code_of_child(Work&& work) {
  pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    ::_exit(work());
  }
  int status = 0;
  CHECK(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Threads that run `work` again and again until they go.
class Busy {
 public:
  template <typename Work>
  explicit Busy(Work work) {
    for (int i = 0; i < 3; ++i) {
      threads_.emplace_back([this, work] {
        while (!stop_) work();
      });
    }
  }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
  ~Busy() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

// Whether a thread of this process waits in the kernel.
bool is_asleep(pid_t thread) {
  std::string status = read_file("/proc/self/task/" + std::to_string(thread) + "/stat");
  return status.compare(status.find(')') + 1, 3, " S ") == 0;
}

HashStore* g_store = nullptr;
std::atomic<int> g_code{-2};

bool fork_once_and_stop() {
  // Whoever is asked in the child goes on waiting there.
  static bool forked = false;
  if (forked) return false;
  forked = true;
  pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    g_store->set("never", "now");
    return false;
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  g_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return true;
}

}  // namespace

TEST_CASE(
    "a HashStore in a forked child is a whole copy, whatever the parent's threads were doing") {
  HashStore store;
  store.set("k", "v");
  std::vector<std::thread> blocked;
  for (int i = 0; i < 2; ++i) {
    blocked.emplace_back([&] { store.wait({"later"}, kHang); });
    blocked.emplace_back([&] { store.queue_pop("q", true, kHang); });
  }
  {
    Busy busy([&] {
      store.set("busy", std::string(2000, 'x'));
      store.queue_push("other", "x");
      store.queue_pop("other", false, kHang);
    });
    for (int i = 0; i < kForks; ++i) {
      CAPTURE(i);
      int code = code_of_child([&] {
        if (store.get("k", kHang) != "v") return 1;
        // Nobody of the parent's is woken, or takes what is the child's.
        store.set("later", "1");
        store.queue_push("q", "own");
        if (kChildHasThreads) {
          std::thread own([&] { store.wait({"own"}, kHang); });
          store.set("own", "1");
          own.join();
        }
        return store.queue_pop("q", true, kHang) == "own" ? 0 : 2;
      });
      REQUIRE(code == 0);
    }
  }
  CHECK_FALSE(store.check({"later"}));
  store.set("later", "1");
  store.queue_push("q", "1");
  store.queue_push("q", "2");
  for (std::thread& thread : blocked) thread.join();
}

TEST_CASE("a call that was blocked when it forked, in a signal handler, goes on in the child") {
  HashStore store;
  g_store = &store;
  set_interrupt_check(fork_once_and_stop);
  pid_t parent = ::getpid();
  try {
    store.wait({"never"}, kHang);
  } catch (const Error& error) {
    if (::getpid() == parent) CHECK(error.code() == ErrorCode::kInterrupted);
  }
  if (::getpid() != parent) ::_exit(7);
  set_interrupt_check(nullptr);
  CHECK(g_code == 7);
}

TEST_CASE("locks that are held over a fork are counted no more behind it, in either process") {
  Mutex mutex;
  int held_in_child = -1;
  ForkHold over_forks(mutex, [&] { held_in_child = held_by_this_thread; });
  CHECK(code_of_child([&] {
          if (held_in_child < 1) return 1;
          Lock lock(mutex);
          return held_by_this_thread == 1 ? 0 : 2;
        }) == 0);
  CHECK(held_by_this_thread == 0);
  Lock lock(mutex);
  CHECK(held_by_this_thread == 1);
}

TEST_CASE("a forked child logs, and has nothing of what its parent logged") {
  Busy busy([] {
    log(LogLevel::kDebug, "the parent's");
    LogQueue::instance().read(Duration::zero());
  });
  for (int i = 0; i < kForks; ++i) {
    CAPTURE(i);
    int code = code_of_child([] {
      log(LogLevel::kInfo, "the child's");
      auto record = LogQueue::instance().read(Duration::zero());
      return record && record->message == "the child's" ? 0 : 1;
    });
    REQUIRE(code == 0);
  }
}

TEST_CASE("a fork does not wait for a file that is slow to open") {
  Folder folder;
  REQUIRE(::mkfifo(folder.file("pipe").c_str(), 0600) == 0);
  // Opening a pipe to write waits for its reader, as a server that does not answer would.
  std::atomic<pid_t> opening{0};
  std::thread opener([&] {
    opening = ::gettid();
    FileFd::open(folder.file("pipe").c_str(), O_WRONLY);
  });
  while (opening == 0 || !is_asleep(opening)) std::this_thread::yield();
  CHECK(code_of_child([] { return 0; }) == 0);
  FileFd reader = FileFd::open(folder.file("pipe").c_str(), O_RDONLY);
  opener.join();
}

TEST_CASE("whatever is forked while files are opened and closed, no lock outlives its owner") {
  Folder folder;
  Busy busy([&] {
    static std::atomic<int> count{0};
    std::string path = folder.file(std::to_string(++count));
    FileStore store(options(path));
    store.set("k", "v");
  });
  // The children live on with whatever they got.
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  std::vector<pid_t> children;
  for (int i = 0; i < 50; ++i) {
    pid_t child = ::fork();
    if (child == 0) {
      char byte = 0;
      ::close(ends[1]);
      ::_exit(static_cast<int>(::read(ends[0], &byte, 1)));
    }
    children.push_back(child);
  }
  for (int i = 0; i < 20; ++i) {
    std::string path = folder.file("own" + std::to_string(i));
    {
      FileStore(options(path, "one")).set("k", "v");
    }
    FileStore another(options(path, "two"));  // an inherited lock would be in its way
    CHECK(another.num_keys() == 0);
  }
  ::close(ends[1]);
  ::close(ends[0]);
  for (pid_t child : children) ::waitpid(child, nullptr, 0);
  drain_log();
}
