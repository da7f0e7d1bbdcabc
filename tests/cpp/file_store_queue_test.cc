// Queues and barriers of FileStore: several users of one file, and compaction.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "file_support.h"
#include "store/file_store.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

constexpr Duration kNow = Duration::zero();
constexpr Duration kHang = std::chrono::seconds(120);

struct Users {
  explicit Users(bool compacts = false, int count = 2) {
    for (int i = 0; i < count; ++i)
      all.push_back(std::make_unique<FileStore>(compacts ? compacting(folder.file())
                                                         : options(folder.file())));
  }
  FileStore& operator[](size_t i) { return *all[i % all.size()]; }

  Folder folder;
  std::vector<std::unique_ptr<FileStore>> all;
};

template <typename Call>
std::string error_of(Call&& call) {
  try {
    call();
    return "";
  } catch (const Error& error) {
    return error.message();
  }
}

}  // namespace

TEST_CASE("what one user pushes, another pops, in order") {
  Users users;
  for (Bytes item : {"1", "", "3"}) users[0].queue_push("q", item);
  CHECK(users[1].queue_len("q") == 3);
  CHECK(users[1].num_keys() == 0);
  CHECK(users[1].check({"q"}));
  CHECK(users[1].queue_pop("q", true, kNow) == "1");
  CHECK(users[0].queue_pop("q", false, kNow) == "");
  CHECK(users[1].queue_pop("q", true, kHang) == "3");
  CHECK(error_of([&] { users[0].queue_pop("q", false, kHang); }).find("queue 'q' is empty") !=
        std::string::npos);
  CHECK(error_of([&] {
          users[0].queue_pop("q", true, std::chrono::milliseconds(20));
        }).find("nobody has pushed to queue 'q'") != std::string::npos);
}

TEST_CASE("compaction keeps the items, their order and the values") {
  Users users(true);
  users[0].set("k", "value");
  for (int i = 0; i < 50; ++i) {
    users[0].queue_push("kept", std::to_string(i));
    users[0].queue_push("other " + std::to_string(i % 3), std::to_string(i));
  }
  // Items that come and go make the file grow, and so be compacted.
  uint64_t largest = 0;
  for (int i = 0; i < 2000; ++i) {
    users[i].queue_push("passing", std::string(100, 'x'));
    CHECK(users[i + 1].queue_pop("passing", true, kHang).size() == 100);
    largest = std::max<uint64_t>(largest, read_file(users.folder.file()).size());
  }
  CHECK(largest < 50'000);  // 2,000 records of a push and a pop have 280,000
  FileStore late(options(users.folder.file()));
  CHECK(late.queue_len("kept") == 50);
  for (int i = 0; i < 50; ++i) {
    FileStore& user = i % 3 == 0 ? late : users[i];
    CHECK(user.queue_pop("kept", true, kHang) == std::to_string(i));
  }
  for (int i = 0; i < 50; ++i)
    CHECK(users[i].queue_pop("other " + std::to_string(i % 3), true, kHang) == std::to_string(i));
  CHECK(values_of(users[1]) == Values{{"k", "value"}});
}

TEST_CASE("items count as live: a long queue is not rewritten at each push") {
  Users users(true, 1);
  ino_t inode = 0;
  int rewritten = 0;
  for (int i = 0; i < 500; ++i) {
    users[0].queue_push("q", std::string(100, 'x'));
    struct stat status{};
    CHECK(::stat(users.folder.file().c_str(), &status) == 0);
    rewritten += status.st_ino != inode;
    inode = status.st_ino;
  }
  CHECK(rewritten < 20);
}

TEST_CASE("a queue outlives its users, for the same job") {
  Users users;
  users[0].queue_push("q", "1");
  users[1].queue_push("q", "2");
  users.all.clear();
  FileStore next(options(users.folder.file()));
  CHECK(next.queue_pop("q", true, kNow) == "1");
  CHECK(next.queue_pop("q", true, kNow) == "2");
}

TEST_CASE("many users who push and pop at once lose and double nothing") {
  for (bool compacts : {false, true}) {
    constexpr int kUsers = 4, kItems = 100;
    Users users(compacts, kUsers);
    std::vector<std::vector<std::string>> popped(kUsers);
    std::vector<std::thread> threads;
    for (int who = 0; who < kUsers; ++who) {
      threads.emplace_back([&, who] {
        for (int i = 0; i < kItems; ++i)
          popped[who].push_back(users[who].queue_pop("q", true, kHang));
      });
      threads.emplace_back([&, who] {
        for (int i = 0; i < kItems; ++i)
          users[who + 1].queue_push("q", std::to_string(who * kItems + i));
      });
    }
    for (std::thread& thread : threads) thread.join();
    std::vector<int> all;
    for (const auto& items : popped) {
      std::vector<int> last(kUsers, -1);  // by who pushed: in his order
      for (const std::string& item : items) {
        int number = std::stoi(item);
        CHECK(last[number / kItems] < number);
        last[number / kItems] = number;
        all.push_back(number);
      }
    }
    std::sort(all.begin(), all.end());
    REQUIRE(all.size() == kUsers * kItems);
    for (int i = 0; i < kUsers * kItems; ++i) CHECK(all[i] == i);
    CHECK(users[0].queue_len("q") == 0);
  }
}

TEST_CASE("users meet at a barrier, also over a compacted file") {
  for (bool compacts : {false, true}) {
    Users users(compacts, 3);
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back([&, i] { users[i].barrier("b", 4, kHang); });
    for (int i = 0; i < 200; ++i) users[0].set("k", std::to_string(i));
    users[1].barrier("b", 4, kHang);
    for (std::thread& thread : threads) thread.join();
    CHECK(users[2].get("b", kNow) == "4");
    std::string text = error_of([&] { users[0].barrier("c", 2, std::chrono::milliseconds(20)); });
    CHECK(text.find("1 of 2 have arrived at key 'c'") != std::string::npos);
    CHECK(users[1].get("c", kNow) == "0");  // who gave up is counted no more
  }
}

TEST_CASE("a clone is another user of the same file") {
  Users users(false, 1);
  users[0].set_timeout(std::chrono::seconds(7));
  std::shared_ptr<Store> clone = users[0].clone();
  CHECK(clone->timeout() == std::chrono::seconds(7));
  clone->set_timeout(std::chrono::seconds(9));
  CHECK(users[0].timeout() == std::chrono::seconds(7));
  clone->queue_push("q", "1");
  CHECK(users[0].queue_pop("q", true, kNow) == "1");
}
