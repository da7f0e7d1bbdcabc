// What HashStore and FileStore share beyond the plain operations: versions, watching, times to
// live, and deleting by prefix. Each case runs on all of them, with two users of one store.
#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "file_support.h"
#include "store/file_store.h"
#include "store/hash_store.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

constexpr Duration kNow = Duration::zero();
constexpr Duration kHang = std::chrono::seconds(120);
constexpr Duration kBrief = std::chrono::milliseconds(30);
constexpr Duration kLong = std::chrono::hours(1);

enum class Kind { kHash, kFile, kSharedFile, kCompactedFile };
constexpr Kind kKinds[] = {Kind::kHash, Kind::kFile, Kind::kSharedFile, Kind::kCompactedFile};

struct Users {
  explicit Users(Kind kind) {
    if (kind == Kind::kHash) {
      first = second = std::make_shared<HashStore>();
      return;
    }
    FileStore::Options made =
        kind == Kind::kCompactedFile ? compacting(folder.file()) : options(folder.file());
    made.shared = kind == Kind::kSharedFile;
    first = std::make_shared<FileStore>(made);
    second = std::make_shared<FileStore>(made);
  }

  Folder folder;
  std::shared_ptr<Store> first;
  std::shared_ptr<Store> second;
  Store& one() { return *first; }
  Store& two() { return *second; }
};

template <typename Call>
Error error_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::kOk, "no error");
}

// For a key whose time decides when.
void wait_until_gone(Store& store, Bytes key) {
  while (true) {
    Store::Versioned now = store.try_get(key);
    if (now.version == 0) return;
    REQUIRE(store.watch(key, now.version, kHang).version == 0);
  }
}

}  // namespace

TEST_CASE("try_get gives what is there now with its version, the same to all users") {
  for (Kind kind : kKinds) {
    CAPTURE(kind);
    Users users(kind);
    CHECK(users.one().try_get("k").version == 0);
    CHECK(users.one().try_get("k").value == "");
    users.one().set("k", "1");
    Store::Versioned one = users.one().try_get("k");
    CHECK(one.value == "1");
    CHECK(one.version > 0);
    CHECK(users.two().try_get("k").version == one.version);
    CHECK(users.two().compare_exchange("k", "no", "x").version == one.version);
    users.two().queue_push("q", "item");
    CHECK(users.one().try_get("q").version == 0);
  }
}

TEST_CASE("every write gives a version never used before; whatever fails gives none") {
  for (Kind kind : kKinds) {
    CAPTURE(kind);
    Users users(kind);
    uint64_t last = 0;
    std::vector<std::function<void(Store&)>> writes = {
        [](Store& store) { store.set("k", "1"); },
        [](Store& store) { store.add("k", 1); },
        [](Store& store) { store.append("k", "1"); },
        [](Store& store) { store.compare_exchange("k", "21", "x"); },
        [](Store& store) { store.multi_set({"other", "1", "k", "2"}); },
        [](Store& store) { store.set_for("k", "3", kLong); },
        [](Store& store) { store.set_if_version("k", "4", store.try_get("k").version); },
        [](Store& store) { static_cast<void>(store.delete_key("k")), store.set("k", "5"); },
        [](Store& store) { static_cast<void>(store.delete_prefix("")), store.add("k", 5); },
    };
    for (auto& write : writes) {
      write(users.one());
      uint64_t version = users.two().try_get("k").version;
      CHECK(version > last);
      last = version;
      users.two().compare_exchange("k", "no", "x");
      users.two().set_if_version("k", "x", version + 1);
      CHECK(users.one().try_get("k").version == version);
    }
  }
}

TEST_CASE("watch returns at once when the version is another than the known one") {
  for (Kind kind : kKinds) {
    CAPTURE(kind);
    Users users(kind);
    users.one().set("k", "1");
    Store::Versioned seen = users.two().watch("k", 0, kNow);
    CHECK(seen.value == "1");
    CHECK(seen.version == users.one().try_get("k").version);
    CHECK(users.two().watch("k", seen.version + 1, kNow).version == seen.version);
    Store::Versioned none = users.two().watch("missing", seen.version, kNow);
    CHECK(none.version == 0);
    CHECK(none.value == "");
  }
}

TEST_CASE("watch sees every kind of change by another user, deletion too") {
  for (Kind kind : kKinds) {
    CAPTURE(kind);
    Users users(kind);
    std::vector<std::pair<std::string, std::function<void(Store&)>>> changes = {
        {"1", [](Store& store) { store.set("k", "1"); }},
        {"2", [](Store& store) { store.add("k", 1); }},
        {"22", [](Store& store) { store.append("k", "2"); }},
        {"x", [](Store& store) { store.compare_exchange("k", "22", "x"); }},
        {"", [](Store& store) { store.delete_key("k"); }},
        {"3", [](Store& store) { store.multi_set({"k", "3"}); }},
        {"", [](Store& store) { store.delete_prefix("k"); }},
        {"4", [](Store& store) { store.set_if_version("k", "4", 0); }},
        {"5", [](Store& store) { store.set_for("k", "5", kLong); }},
    };
    uint64_t known = 0;
    for (auto& [value, change] : changes) {
      Store::Versioned seen;
      std::thread watcher([&] { seen = users.two().watch("k", known, kHang); });
      change(users.one());
      watcher.join();
      CHECK(seen.value == value);
      CHECK((seen.version == 0) == value.empty());
      CHECK(seen.version == users.one().try_get("k").version);
      known = seen.version;
    }
  }
}

TEST_CASE("watch times out with a message that names key, version and store") {
  for (Kind kind : kKinds) {
    CAPTURE(kind);
    Users users(kind);
    users.one().set("k", "1");
    users.two().set("other", "1");
    uint64_t version = users.one().try_get("k").version;
    for (Duration timeout : {kNow, kBrief}) {
      Error error = error_of([&] { users.one().watch("k", version, timeout); });
      CHECK(error.code() == ErrorCode::kTimeout);
      CHECK(error.message().find("'k' still has version " + std::to_string(version)) !=
            std::string::npos);
      CHECK(error.message().find(users.one().describe()) != std::string::npos);
    }
    Error error = error_of([&] { users.two().watch("missing", 0, kNow); });
    CHECK(error.message().find("'missing' still has no value") != std::string::npos);
  }
}

TEST_CASE("set_if_version sets for one of those who know the same version") {
  for (Kind kind : kKinds) {
    CAPTURE(kind);
    Users users(kind);
    Store::VersionSet made = users.one().set_if_version("k", "1", 0);
    CHECK(made.swapped);
    CHECK(made.version == users.two().try_get("k").version);
    Store::VersionSet late = users.two().set_if_version("k", "2", 0);
    CHECK_FALSE(late.swapped);
    CHECK(late.version == made.version);
    CHECK(users.two().set_if_version("k", "2", made.version).swapped);
    CHECK_FALSE(users.one().set_if_version("k", "3", made.version).swapped);
    CHECK(users.one().get("k", kNow) == "2");
    CHECK(users.one().set_if_version("missing", "3", 99).version == 0);
    CHECK(users.two().try_get("missing").version == 0);
  }
}

TEST_CASE("set_if_version in a loop counts without losing anything") {
  for (Kind kind : kKinds) {
    CAPTURE(kind);
    Users users(kind);
    constexpr int kThreads = 4;
    constexpr int kTimes = 50;
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&users, i] {
        Store& store = i % 2 == 0 ? users.one() : users.two();
        for (int done = 0; done < kTimes;) {
          Store::Versioned now = store.try_get("k");
          int count = now.version == 0 ? 0 : std::stoi(now.value);
          done += store.set_if_version("k", std::to_string(count + 1), now.version).swapped;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(users.one().get("k", kNow) == std::to_string(kThreads * kTimes));
  }
}

TEST_CASE("a key with a time to live is there until then, and then nobody sees it") {
  for (Kind kind : kKinds) {
    CAPTURE(kind);
    Users users(kind);
    Instant begin = now();
    users.one().set_for("k", "7", kBrief);
    uint64_t version = users.one().try_get("k").version;
    Store::Versioned gone = users.two().watch("k", version, kHang);
    // The wall clock, which FileStore goes by, counts whole milliseconds and may be corrected.
    CHECK(now() - begin > kBrief - std::chrono::milliseconds(5));
    CHECK(gone.version == 0);
    for (Store* user : {&users.one(), &users.two()}) {
      wait_until_gone(*user, "k");
      CHECK_FALSE(user->check({"k"}));
      CHECK(user->num_keys() == 0);
      CHECK(user->list_keys("").empty());
      CHECK(error_of([&] { user->get("k", kNow); }).code() == ErrorCode::kTimeout);
      CHECK(error_of([&] { user->multi_get({"k"}, kNow); }).code() == ErrorCode::kTimeout);
      CHECK(error_of([&] { user->wait({"k"}, kNow); }).code() == ErrorCode::kTimeout);
    }
  }
}

TEST_CASE("to every write, a key whose time has passed is missing") {
  for (Kind kind : kKinds) {
    CAPTURE(kind);
    Users users(kind);
    std::vector<std::function<void(Store&)>> writes = {
        [](Store& store) { CHECK_FALSE(store.delete_key("k")); },
        [](Store& store) { CHECK(store.delete_prefix("k") == 0); },
        [](Store& store) { CHECK(store.add("k", 1) == 1); },
        [](Store& store) {
          store.append("k", "1");
          CHECK(store.get("k", kNow) == "1");
        },
        [](Store& store) { CHECK_FALSE(store.compare_exchange("k", "7", "x").exists); },
        [](Store& store) { CHECK(store.compare_exchange("k", "", "x").swapped); },
        [](Store& store) { CHECK(store.set_if_version("k", "x", 0).swapped); },
    };
    for (auto& write : writes) {
      users.one().set_for("k", "7", std::chrono::milliseconds(1));
      wait_until_gone(users.one(), "k");
      write(users.one());
      CHECK(users.one().try_get("k").value == users.two().try_get("k").value);
      CHECK(users.one().try_get("k").version == users.two().try_get("k").version);
    }
  }
}

TEST_CASE("what replaces the value makes it permanent; add and append keep its time") {
  for (Kind kind : kKinds) {
    CAPTURE(kind);
    Users users(kind);
    for (Bytes key : {"set", "multi", "swap", "version", "longer", "add", "append"})
      users.one().set_for(key, "1", std::chrono::milliseconds(100));
    users.two().set("set", "2");
    users.two().multi_set({"multi", "2"});
    users.two().set_for("longer", "2", kLong);
    uint64_t version = users.two().try_get("version").version;
    std::vector<std::string> stay = {"longer", "multi", "set"};
    if (users.two().compare_exchange("swap", "1", "2").swapped) stay.push_back("swap");
    if (version != 0 && users.two().set_if_version("version", "2", version).swapped)
      stay.push_back("version");
    // On a machine that is too slow they were gone before, and these made new ones.
    if (users.two().add("add", 1) == 1) users.two().delete_key("add");
    users.two().append("append", "2");
    if (users.two().try_get("append").value == "2") users.two().delete_key("append");
    wait_until_gone(users.one(), "add");
    wait_until_gone(users.two(), "append");
    CHECK(users.one().list_keys("") == stay);
    CHECK(users.two().list_keys("") == stay);
  }
}

TEST_CASE("a time to live of nothing or less is refused") {
  for (Kind kind : kKinds) {
    CAPTURE(kind);
    Users users(kind);
    for (Duration ttl : {Duration::zero(), Duration(-1), Duration::min()}) {
      Error error = error_of([&] { users.one().set_for("k", "1", ttl); });
      CHECK(error.code() == ErrorCode::kInvalidArgument);
      CHECK(error.message().find("'k'") != std::string::npos);
    }
    CHECK(users.one().num_keys() == 0);
    users.one().set_for("k", "1", Duration::max());
    users.one().set_for("short", "1", Duration(1));
    wait_until_gone(users.two(), "short");
    CHECK(users.two().get("k", kNow) == "1");
  }
}

TEST_CASE("delete_prefix deletes the keys that begin so, says how many, and leaves queues") {
  for (Kind kind : kKinds) {
    CAPTURE(kind);
    Users users(kind);
    users.one().multi_set({"a", "1", "a/1", "1", "a/2", "1", "ab", "1", "b", "1"});
    users.one().set_for("a/3", "1", kLong);
    users.one().queue_push("a/1", "item");
    CHECK(users.two().delete_prefix("a/") == 3);
    CHECK(users.one().delete_prefix("a/") == 0);
    CHECK(users.one().list_keys("") == std::vector<std::string>{"a", "ab", "b"});
    CHECK(users.two().delete_prefix("") == 3);
    CHECK(users.one().num_keys() == 0);
    CHECK(users.one().queue_pop("a/1", false, kNow) == "item");
  }
}

TEST_CASE("whoever waits for an expired key gets the one that is set next") {
  for (Kind kind : kKinds) {
    CAPTURE(kind);
    Users users(kind);
    users.one().set_for("k", "old", std::chrono::milliseconds(1));
    wait_until_gone(users.two(), "k");
    std::string got;
    std::thread waiter([&] { got = users.two().get("k", kHang); });
    users.one().set("k", "new");
    waiter.join();
    CHECK(got == "new");
  }
}

TEST_CASE("limits hold for the further operations, too") {
  const std::string key(limits::kKeyBytesMax + 1, 'k');
  const std::string value(limits::kValueBytesMax + 1, 'v');
  for (Kind kind : kKinds) {
    CAPTURE(kind);
    Users users(kind);
    Store& store = users.one();
    std::vector<std::function<void()>> calls = {
        [&] { store.try_get(key); },
        [&] { store.watch(key, 0, kNow); },
        [&] { store.set_if_version(key, "", 0); },
        [&] { store.set_if_version("k", value, 0); },
        [&] { store.set_for(key, "", kLong); },
        [&] { store.set_for("k", value, kLong); },
        [&] { store.delete_prefix(key); },
    };
    for (auto& call : calls) CHECK(error_of(call).code() == ErrorCode::kLimit);
    CHECK(store.num_keys() == 0);
  }
}
