// Times to live in a FileStore: who sees a key go, who writes that down, and what happens when the
// clocks of the users differ. The clocks are the test's own.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "file_support.h"
#include "store/file_fd.h"
#include "store/file_lock.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

using std::chrono::seconds;

constexpr Duration kNow = Duration::zero();
constexpr Duration kHang = seconds(120);
constexpr int kClocks = 3;
// One for each user, in seconds; the last stands still.
std::atomic<int64_t> g_seconds[kClocks];

template <int kIndex>
Instant read_clock() {
  return Instant(seconds(1'000'000'000 + g_seconds[kIndex].load()));
}
constexpr WallClock kReads[kClocks] = {read_clock<0>, read_clock<1>, read_clock<2>};

struct Users {
  explicit Users(bool compacts = false) {
    for (auto& second : g_seconds) second = 0;
    made = compacts ? compacting(folder.file()) : options(folder.file());
    for (int i = 0; i < 2; ++i) all.push_back(open(i));
  }

  std::unique_ptr<FileStore> open(int clock) const {
    FileStore::Options its = made;
    its.clock = kReads[clock];
    return std::make_unique<FileStore>(its);
  }
  FileStore& operator[](size_t i) { return *all[i]; }
  size_t file_bytes() const { return read_file(folder.file()).size(); }

  Folder folder;
  FileStore::Options made;
  std::vector<std::unique_ptr<FileStore>> all;
};

void set_clocks(int64_t second) {
  for (auto& clock : g_seconds) clock = second;
}

using Content = std::map<std::string, std::pair<std::string, uint64_t>>;

Content content(FileStore& store) {
  Content found;
  for (const std::string& key : store.list_keys("")) {
    Store::Versioned now = store.try_get(key);
    found[key] = {now.value, now.version};
  }
  return found;
}

}  // namespace

TEST_CASE("a key whose time has come is absent at once, and the next writer deletes it") {
  Users users;
  users[0].set_for("k", "1", seconds(10));
  users[0].set("stays", "1");
  size_t bytes = users.file_bytes();
  g_seconds[1] = 9;
  CHECK(users[1].get("k", kNow) == "1");
  set_clocks(10);
  for (size_t i = 0; i < 2; ++i) {
    CHECK(users[i].try_get("k").version == 0);
    CHECK(users[i].num_keys() == 1);
    CHECK(users[i].list_keys("") == std::vector<std::string>{"stays"});
    CHECK_FALSE(users[i].check({"k"}));
  }
  CHECK(users.file_bytes() == bytes);

  CHECK_FALSE(users[1].delete_key("k"));
  CHECK(users.file_bytes() > bytes);
  set_clocks(0);  // the file says that it is gone, whatever the clock does
  CHECK(users[0].try_get("k").version == 0);
  CHECK(users.open(2)->num_keys() == 1);
}

TEST_CASE("time passes while nobody has the store open") {
  Users users;
  users[0].set_for("k", "1", seconds(10));
  users[0].set_for("later", "1", seconds(20));
  users.all.clear();
  set_clocks(15);
  std::unique_ptr<FileStore> again = users.open(0);
  CHECK(again->list_keys("") == std::vector<std::string>{"later"});
}

TEST_CASE("keys expire for readers while somebody keeps the writer's lock") {
  Users users;
  users[0].set_for("k", "1", seconds(10));
  FileFd holder = FileFd::open(users.folder.file().c_str(), 2 /* O_RDWR */);
  REQUIRE(try_lock(holder.get(), LockKind::kExclusive, ""));
  uint64_t version = users[1].try_get("k").version;
  set_clocks(10);
  CHECK(users[1].num_keys() == 0);
  CHECK(users[1].watch("k", version, kNow).version == 0);
}

TEST_CASE("a watcher is woken by the clock alone") {
  for (bool compacts : {false, true}) {
    Users users(compacts);
    users[0].set_for("k", "1", seconds(10));
    uint64_t version = users[1].try_get("k").version;
    Store::Versioned seen{std::string("not yet"), 1};
    std::thread watcher([&] { seen = users[1].watch("k", version, kHang); });
    set_clocks(10);
    watcher.join();
    CHECK(seen.version == 0);
    CHECK(seen.value == "");
  }
}

TEST_CASE("a clock that is ahead ends a key early for its user, and by its next write for all") {
  Users users;
  users[0].set_for("k", "1", seconds(10));
  g_seconds[1] = 30;
  CHECK(users[1].num_keys() == 0);
  CHECK(users[0].get("k", kNow) == "1");
  users[1].set("other", "1");
  CHECK(users[0].list_keys("") == std::vector<std::string>{"other"});
}

TEST_CASE("what a user with a clock behind does to a key is the same for all") {
  Users users;
  users[0].set_for("k", "1", seconds(10));
  users[0].set_for("n", "40", seconds(10));
  g_seconds[1] = 30;
  CHECK(users[1].num_keys() == 0);
  users[0].append("k", "2");
  CHECK(users[0].add("n", 2) == 42);
  CHECK(users[1].num_keys() == 0);
  g_seconds[1] = 0;  // corrected
  users[0].set("other", "1");
  CHECK(content(users[1]) == content(users[0]));
  CHECK(users[1].get("k", kNow) == "12");
  CHECK(users[1].get("n", kNow) == "42");
  set_clocks(10);
  CHECK(users[0].num_keys() == 1);
}

TEST_CASE("a key that is gone for one user and then made permanent by another is there for both") {
  Users users;
  users[0].set_for("k", "1", seconds(10));
  g_seconds[1] = 30;
  CHECK(users[1].try_get("k").version == 0);
  std::string got;
  std::thread waiter([&] { got = users[1].get("k", kHang); });
  users[0].set("k", "2");
  waiter.join();
  CHECK(got == "2");
  CHECK(users[1].try_get("k").version == users[0].try_get("k").version);
}

TEST_CASE("a watcher that saw a key go is not woken by other keys, nor by a compacted file") {
  for (bool compacts : {false, true}) {
    Users users(compacts);
    users[0].set_for("k", "1", seconds(10));
    g_seconds[1] = 30;
    CHECK(users[1].try_get("k").version == 0);
    Store::Versioned seen{std::string("not yet"), 1};
    std::thread watcher([&] { seen = users[1].watch("k", 0, kHang); });
    for (int i = 0; i < 300; ++i) users[0].set("other", std::to_string(i));
    users[0].set("k", "2");
    watcher.join();
    CHECK(seen.value == "2");
  }
}

TEST_CASE("what one user no longer saw is not in its way after the other compacted the file") {
  Users users(true);
  users[0].set_for("k", "1", seconds(10));
  g_seconds[1] = 30;
  CHECK(users[1].num_keys() == 0);
  users[0].set("k", "2");
  for (int i = 0; i < 300; ++i) users[0].set("other", std::to_string(i));
  CHECK(users[1].get("k", kNow) == "2");
  users[0].set("other", "last");
  CHECK(users[1].get("k", kNow) == "2");
  CHECK(content(users[1]) == content(users[0]));
}

TEST_CASE("compaction keeps times and versions") {
  Users users(true);
  users[0].set_for("k", "1", seconds(10));
  uint64_t version = users[0].try_get("k").version;
  for (int i = 0; i < 300; ++i) users[i % 2].set("other", std::to_string(i));
  CHECK(users.file_bytes() < 1000);
  CHECK(users.open(2)->try_get("k").version == version);
  set_clocks(10);
  CHECK(users.open(2)->list_keys("") == std::vector<std::string>{"other"});
  for (int i = 0; i < 300; ++i) users[i % 2].set("other", std::to_string(i));
  set_clocks(0);
  CHECK(users.open(2)->num_keys() == 1);
  CHECK(users[0].num_keys() == 1);
}

TEST_CASE("a time to live is never shorter than asked, whatever part of a millisecond it has") {
  Users users;
  users[0].set_for("k", "1", Duration(1));
  CHECK(users[0].get("k", kNow) == "1");
  users[0].set_for("k", "1", seconds(1) + Duration(1));
  set_clocks(1);
  CHECK(users[0].get("k", kNow) == "1");
  set_clocks(2);
  CHECK(users[0].num_keys() == 0);
}

TEST_CASE("users with clocks that differ agree on every key and version") {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Users users(seed % 2 == 0);
    std::mt19937 random(seed);
    for (int step = 0; step < 300; ++step) {
      FileStore& user = users[random() % 2];
      std::string key(1, static_cast<char>('a' + random() % 4));
      switch (random() % 10) {
        case 0:
        case 1:
        case 2:
          user.set_for(key, "1", seconds(1 + random() % 5));
          break;
        case 3:
          user.set(key, "2");
          break;
        case 4:
          user.append(key, "3");
          break;
        case 5:
          if (user.try_get(key).value.size() < 15) user.add(key, 4);
          break;
        case 6:
          user.delete_prefix(random() % 4 == 0 ? "" : key);
          break;
        case 7:
          user.set_if_version(key, "5", user.try_get(key).version);
          break;
        case 8:
          user.num_keys();
          break;
        default:
          g_seconds[random() % 2] += static_cast<int64_t>(random() % 4);
      }
    }
    set_clocks(std::max(g_seconds[0].load(), g_seconds[1].load()));
    Content expected = content(*users.open(2));
    for (size_t i = 0; i < 2; ++i) CHECK(content(users[i]) == expected);
    set_clocks(0);
    users[0].set("last", "1");
    expected = content(*users.open(2));
    for (size_t i = 0; i < 2; ++i) CHECK(content(users[i]) == expected);
  }
}
