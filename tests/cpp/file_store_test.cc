// FileStore with several users of one file: operations, waiting, compaction, forks.
#include "store/file_store.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "file_support.h"
#include "store/file_lock.h"
#include "store/file_watch.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

constexpr Duration kNow = Duration::zero();
constexpr Duration kHang = std::chrono::seconds(120);

template <typename Call>
ErrorCode code_of(Call&& call) {
  try {
    call();
    return ErrorCode::kOk;
  } catch (const Error& error) {
    return error.code();
  }
}

// One store, seen by two users; on a file system of this host, and as if other hosts used it.
struct Pair {
  explicit Pair(bool shared, bool compacts = false) {
    FileStore::Options made = compacts ? compacting(folder.file()) : options(folder.file());
    made.shared = shared;
    one = std::make_unique<FileStore>(made);
    two = std::make_unique<FileStore>(made);
  }
  Folder folder;
  std::unique_ptr<FileStore> one;
  std::unique_ptr<FileStore> two;
};

}  // namespace

TEST_CASE("what one user writes, the other reads") {
  for (bool shared : {false, true}) {
    Pair pair(shared);
    CHECK(pair.two->num_keys() == 0);
    pair.one->set("k", "1");
    CHECK(pair.two->get("k", kNow) == "1");
    pair.two->append("k", "2");
    CHECK(pair.one->get("k", kNow) == "12");
    CHECK(pair.one->add("k", 30) == 42);
    CHECK(pair.two->compare_exchange("k", "42", "x").swapped);
    Store::Exchange refused = pair.one->compare_exchange("k", "42", "y");
    CHECK_FALSE(refused.swapped);
    CHECK(refused.value == "x");
    CHECK(code_of([&] { pair.one->add("k", 1); }) == ErrorCode::kNotANumber);
    pair.one->multi_set({"a", "1", "b", "2", "a", "3"});
    CHECK(pair.two->multi_get({"b", "a"}, kNow) == std::vector<std::string>{"2", "3"});
    CHECK(pair.two->list_keys("") == std::vector<std::string>{"a", "b", "k"});
    CHECK(pair.two->delete_key("a"));
    CHECK_FALSE(pair.one->delete_key("a"));
    CHECK(pair.one->num_keys() == 2);
    CHECK(code_of([&] { pair.one->get("a", kNow); }) == ErrorCode::kTimeout);
  }
}

TEST_CASE("values of all sizes arrive whole") {
  Pair pair(false);
  for (size_t size : {0, 1, 65'000, 65'536, 65'537, 1'000'000, 9'000'000}) {
    std::string value(size, static_cast<char>('a' + size % 26));
    pair.one->set("k", value);
    pair.one->set("small", "x");
    CHECK(pair.two->get("k", kNow) == value);
    CHECK(pair.two->get("small", kNow) == "x");
  }
  FileStore late(options(pair.folder.file()));
  CHECK(values_of(late) == values_of(*pair.one));
}

TEST_CASE("both users know the same versions, also after compaction, and none is used twice") {
  Pair pair(false, true);
  uint64_t last = 0;
  std::string value;
  for (int i = 0; i < 300; ++i) {
    FileStore& user = i % 2 == 0 ? *pair.one : *pair.two;
    std::string next = std::to_string(i);
    Store::Exchange result = user.compare_exchange("k", value, next);
    CHECK(result.swapped);
    CHECK(result.version > last);
    last = result.version;
    value = next;
    if (i % 7 == 0) user.delete_key("k"), value = "";
  }
  pair.one->set("k", "1");
  Store::Exchange one = pair.one->compare_exchange("k", "no", "");
  CHECK(pair.two->compare_exchange("k", "no", "").version == one.version);
  CHECK(FileStore(options(pair.folder.file())).compare_exchange("k", "no", "").version ==
        one.version);
  CHECK(read_file(pair.folder.file()).size() < 1000);
}

TEST_CASE("compaction keeps every value and a file that is not much larger than they are") {
  for (bool shared : {false, true}) {
    Pair pair(shared, true);
    size_t largest = 0;
    for (int i = 0; i < 2000; ++i) {
      FileStore& user = i % 3 == 0 ? *pair.two : *pair.one;
      user.set("key " + std::to_string(i % 20), std::string(100, static_cast<char>('a' + i % 26)));
      largest = std::max(largest, read_file(pair.folder.file()).size());
    }
    CHECK(largest < 20'000);  // the values have 2,400 bytes
    CHECK(values_of(*pair.one) == values_of(*pair.two));
    CHECK(pair.one->num_keys() == 20);
    CHECK(pair.one->get("key 19", kNow) == std::string(100, static_cast<char>('a' + 1999 % 26)));
  }
}

TEST_CASE("a snapshot of many records is read back") {
  Pair pair(false);
  std::string value(300'000, 'v');
  for (int i = 0; i < 10; ++i) pair.one->set("key " + std::to_string(i), value);
  for (int i = 0; i < 60; ++i) pair.one->set("key 0", value + std::to_string(i));
  CHECK(read_file(pair.folder.file()).size() < 16'000'000);
  CHECK(pair.two->num_keys() == 10);
  CHECK(pair.two->get("key 0", kNow) == value + "59");
}

TEST_CASE("a file with a second name is not compacted, because its users would not notice") {
  Pair pair(false, true);
  std::filesystem::create_hard_link(pair.folder.file(), pair.folder.file("second"));
  for (int i = 0; i < 200; ++i) pair.one->set("k", std::to_string(i));
  CHECK(std::filesystem::hard_link_count(pair.folder.file()) == 2);
  CHECK(pair.two->get("k", kNow) == "199");
}

TEST_CASE("a compaction that fails is logged, and the store goes on") {
  Pair pair(false, true);
  std::filesystem::create_directory(pair.folder.file() + ".compact");
  while (LogQueue::instance().read(kNow)) {
  }
  for (int i = 0; i < 200; ++i) pair.one->set("k", std::to_string(i));
  CHECK(pair.two->get("k", kNow) == "199");
  auto record = LogQueue::instance().read(kNow);
  REQUIRE(record);
  CHECK(record->message.find(".compact") != std::string::npos);
}

TEST_CASE("links lead to one store, and compaction leaves them") {
  Folder folder;
  std::filesystem::create_symlink(folder.file(), folder.file("link"));
  FileStore by_link(compacting(folder.file("link")));
  FileStore by_name(compacting(folder.file()));
  for (int i = 0; i < 200; ++i) by_link.set("k", std::to_string(i));
  CHECK(by_name.get("k", kNow) == "199");
  CHECK(std::filesystem::is_symlink(folder.file("link")));
}

TEST_CASE("whoever waits is woken by its own object, by another, and by a compacted file") {
  for (bool compacts : {false, true}) {
    Pair pair(false, compacts);
    std::vector<std::thread> waiters;
    std::vector<std::string> got(3);
    waiters.emplace_back([&] { got[0] = pair.one->get("last", kHang); });
    waiters.emplace_back([&] { got[1] = pair.two->get("last", kHang); });
    waiters.emplace_back([&] { got[2] = pair.two->multi_get({"7", "last"}, kHang)[1]; });
    for (int i = 0; i < 500; ++i) pair.one->set(std::to_string(i % 10), std::string(50, 'x'));
    pair.one->set("last", "done");
    for (std::thread& waiter : waiters) waiter.join();
    CHECK(got == std::vector<std::string>{"done", "done", "done"});
  }
}

TEST_CASE("timeouts name the missing keys and the store") {
  Pair pair(false);
  pair.one->set("a", "1");
  try {
    pair.one->wait({"a", "b"}, std::chrono::milliseconds(30));
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kTimeout);
    CHECK(error.message().find("'b'") != std::string::npos);
    CHECK(error.message().find("'a'") == std::string::npos);
    CHECK(error.message().find(pair.folder.file()) != std::string::npos);
  }
}

TEST_CASE("threads of one object and of two count without losing anything") {
  for (bool compacts : {false, true}) {
    Pair pair(false, compacts);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&pair, i] {
        FileStore& user = i % 2 == 0 ? *pair.one : *pair.two;
        for (int k = 0; k < 300; ++k) {
          user.add("counter", 1);
          user.set("own " + std::to_string(i), std::to_string(k));
          if (user.get("own " + std::to_string(i), kNow) != std::to_string(k)) std::abort();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(pair.two->get("counter", kNow) == "1200");
  }
}

TEST_CASE("while somebody else keeps the writer's lock, reads go on and writes keep their time") {
  Pair pair(false);
  pair.one->set("k", "1");
  FileFd holder = FileFd::open(pair.folder.file().c_str(), 2 /* O_RDWR */);
  REQUIRE(try_lock(holder.get(), LockKind::kExclusive, ""));
  pair.one->set_timeout(std::chrono::milliseconds(50));
  CHECK(pair.one->get("k", kNow) == "1");
  try {
    pair.one->set("k", "2");
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kNoAnswer);
    CHECK(error.message().find("pid " + std::to_string(::getpid())) != std::string::npos);
  }
  holder.close();
  pair.one->set("k", "3");
  CHECK(pair.two->get("k", kNow) == "3");
}

TEST_CASE("a forked child is told to open the file itself, and holds no lock of its parent") {
  Pair pair(false);
  pair.one->set("k", "1");
  pid_t child = ::fork();
  if (child == 0) {
    bool refused = code_of([&] { pair.one->get("k", kNow); }) == ErrorCode::kClosed &&
                   code_of([&] { pair.one->set("k", "2"); }) == ErrorCode::kClosed;
    bool reopened = false;
    {
      FileStore own(options(pair.folder.file()));
      own.set("child", "1");
      reopened = own.get("k", kNow) == "1";
    }
    pair.one.reset();
    pair.two.reset();
    ::_exit(refused && reopened ? 0 : 1);
  }
  int status = 0;
  CHECK(::waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(pair.one->get("child", kNow) == "1");
  CHECK(std::filesystem::exists(pair.folder.file() + ".lock"));
}

TEST_CASE("limits hold before anything is written") {
  Pair pair(false);
  std::string key(limits::kKeyBytesMax + 1, 'k');
  std::string half(limits::kValueBytesMax / 2 + 1, 'v');
  CHECK(code_of([&] { pair.one->set(key, ""); }) == ErrorCode::kLimit);
  pair.one->append("k", half);
  CHECK(code_of([&] { pair.one->append("k", half); }) == ErrorCode::kLimit);
  CHECK(pair.two->get("k", kNow).size() == half.size());
}

TEST_CASE("many threads of two objects wait for different keys, and each is woken by its own") {
  for (bool shared : {false, true}) {
    Pair pair(shared);
    constexpr int kWaiters = 12;
    std::vector<std::string> got(kWaiters);
    std::vector<std::thread> waiters;
    for (size_t i = 0; i < kWaiters; ++i) {
      FileStore& store = i % 2 == 0 ? *pair.one : *pair.two;
      waiters.emplace_back([&, i] { got[i] = store.get("key " + std::to_string(i), kHang); });
    }
    FileStore writer(options(pair.folder.file()));
    // Whoever watches for the others goes first, last, and in between.
    for (size_t i : {3, 0, 1, 2, 7, 11, 10, 9, 8, 4, 5, 6}) {
      writer.set("key " + std::to_string(i), std::to_string(i));
      waiters[i].join();
      CHECK(got[i] == std::to_string(i));
    }
  }
}

TEST_CASE("waiting works where the system has no more watches, and leaves no descriptor") {
  const auto descriptors = [] {
    std::filesystem::directory_iterator entries("/proc/self/fd");
    return std::distance(begin(entries), end(entries));
  };
  if (!std::filesystem::exists("/proc/self/fd")) return;
  auto before = descriptors();
  for (bool is_full : {false, true}) {
    Pair pair(false);
    rlimit limit{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (is_full) {
      int free = ::dup(0);
      ::close(free);
      rlimit full{static_cast<rlim_t>(free), limit.rlim_max};
      REQUIRE(::setrlimit(RLIMIT_NOFILE, &full) == 0);
    }
    std::thread setter([&] { pair.two->set("k", "1"); });
    CHECK(pair.one->get("k", kHang) == "1");
    setter.join();
    for (int i = 0; i < 20; ++i)
      CHECK(code_of([&] { pair.one->get("never", std::chrono::milliseconds(1)); }) ==
            ErrorCode::kTimeout);
    CHECK(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  }
  CHECK(descriptors() == before);
}

TEST_CASE("a child that is forked while others wait leaves them their watch") {
  Pair pair(false);
  std::thread waiter([&] { pair.one->get("k", kHang); });
  for (int i = 0; i < 20; ++i) {
    pid_t child = ::fork();
    if (child == 0) {
      FileStore own(options(pair.folder.file()));
      own.set("child", "1");
      ::_exit(own.get("child", kHang) == "1" ? 0 : 1);
    }
    int status = 0;
    CHECK(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
  pair.two->set("k", "1");
  waiter.join();
}

TEST_CASE("a blocked call sleeps until the file changes, and does not look again and again") {
  Pair pair(false);
  FileWatch watch;
  FileLog log(FileFd::open(pair.folder.file().c_str(), 2 /* O_RDWR */), pair.folder.file());
  // Elsewhere it has to look.
  if (watch.watch(log) == FileWatch::Start::kCannot) return;
  long slept = 0;
  std::thread waiter([&] {
    rusage before{};
    rusage after{};
    ::getrusage(RUSAGE_THREAD, &before);
    code_of([&] { pair.one->get("never", std::chrono::seconds(1)); });
    ::getrusage(RUSAGE_THREAD, &after);
    slept = after.ru_nvcsw - before.ru_nvcsw;
  });
  waiter.join();
  // 20 times for signals. Looking every 10 ms would be 100 times.
  CHECK(slept < 60);
}
