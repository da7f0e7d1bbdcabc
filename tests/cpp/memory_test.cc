// What is counted in bytes: accounts and charges, waiters, what a table stores, and buffers that
// are given back when little is left in them.
#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/memory_account.h"
#include "server/limits.h"
#include "store/table.h"

using namespace rdzv;

TEST_CASE("charges: an account counts what its charges are, and so does the whole") {
  MemoryAccount whole;
  MemoryAccount one(&whole);
  MemoryAccount other(&whole);
  {
    Charge a(&one, 10);
    Charge b(&other, 5);
    CHECK(one.used() == 10);
    CHECK(whole.used() == 15);
    a.resize(3);
    CHECK(one.used() == 3);
    CHECK(whole.used() == 8);
    Charge moved(std::move(a));
    CHECK(one.used() == 3);
    b = std::move(moved);
    moved.resize(0);
    CHECK(one.used() == 3);
  }
  CHECK(one.used() == 0);
  CHECK(whole.used() == 0);
}

TEST_CASE("charges: one that replaces another gives that one back") {
  MemoryAccount account;
  Charge charge;
  charge.resize(100);  // nobody counts
  charge = Charge(&account, 7);
  charge = Charge(&account, 4);
  CHECK(account.used() == 4);
  charge = Charge();
  CHECK(account.used() == 0);
}

namespace {

struct Owner : Table::WaiterOwner {
  explicit Owner(MemoryAccount* account = nullptr) : WaiterOwner(account) {}
};

}  // namespace

TEST_CASE("waiters: they are charged to their owner until they are woken, cancelled or dropped") {
  MemoryAccount account;
  Table table;
  Owner owner(&account);
  Owner free_of_charge;
  const std::string long_key(10'000, 'k');
  const std::vector<Bytes> keys{"/a", long_key};
  Table::Waiter* waiter = table.wait(owner, 1, keys);
  const size_t of_one = account.used();
  CHECK(of_one > 10'000);
  table.wait(owner, 2, keys);
  CHECK(account.used() == 2 * of_one);
  table.wait(free_of_charge, 3, keys);
  CHECK(account.used() == 2 * of_one);
  table.cancel(waiter);
  CHECK(account.used() == of_one);
  table.set("/a", "");
  CHECK(account.used() == of_one);
  table.set(long_key, "");
  table.take_woken();
  CHECK(account.used() == 0);
  table.wait(owner, 4, {"/b"});
  table.drop(owner);
  CHECK(account.used() == 0);
}

TEST_CASE("a table counts what it stores, and gives all of it back") {
  Table table;
  const std::string large(100'000, 'v');
  table.set("/a", large);
  CHECK(table.bytes() > 100'000);
  table.append("/a", large);
  CHECK(table.bytes() > 200'000);
  table.set("/a", "");
  CHECK(table.bytes() < 1'000);
  table.append("/new", large);
  table.compare_set("/a", "", large);
  table.set_for("/t", large, Instant(std::chrono::seconds(1)));
  table.multi_set({"/m", large, "/n", large});
  table.set_if_version("/v", large, 0);
  table.add("/number", 1);
  table.restore("/r", large, 1000);
  table.restore("/r", large, 1001);
  CHECK(table.bytes() > 700'000);
  CHECK(table.bytes() < 710'000);
  for (int i = 0; i < 3; ++i) table.push("/q", large);
  table.unpop("/q", large);
  CHECK(table.bytes() > 1'100'000);
  while (table.pop("/q")) continue;
  CHECK(table.bytes() < 710'000);
  table.expire(Instant(std::chrono::seconds(2)));
  CHECK(table.erase("/r"));
  table.erase_prefix("/");
  CHECK(table.size() == 0);
  CHECK(table.bytes() == 0);
}

TEST_CASE("values: one that shrinks gives its buffer back, one that stays small keeps it") {
  const auto is_kept = [](size_t before, size_t after) {
    ValueBytes value{Bytes(std::string(before, 'v'))};
    const char* buffer = Bytes(value).data();
    value.assign(std::string(after, 'w'));
    CHECK((value == Bytes(std::string(after, 'w'))));
    return Bytes(value).data() == buffer;
  };
  CHECK_FALSE(is_kept(64 * 1024 * 1024, ValueBytes::kSharedMin));
  CHECK_FALSE(is_kept(3000, 1000));
  CHECK_FALSE(is_kept(3000, 30));
  CHECK(is_kept(60, 40));
  CHECK(is_kept(3000, 2900));
  CHECK(is_kept(8000, 7900));
}

TEST_CASE("limits: each has one name, and can be set by it") {
  ServerLimits limits;
  uint64_t value = 1;
  for (const ServerLimits::Field& field : ServerLimits::fields()) {
    // No bound: 0.
    if (Bytes(field.name) != "requests_per_second_per_address") CHECK(limits.*field.value > 0);
    limits.set(field.name, ++value);
  }
  value = 1;
  for (const ServerLimits::Field& field : ServerLimits::fields())
    CHECK(limits.*field.value == ++value);
  CHECK_THROWS_AS(limits.set("nodes", 1), Error);
  CHECK_THROWS_AS(limits.set("", 1), Error);
  CHECK_THROWS_AS(limits.set("grace_ms", UINT64_MAX), Error);
}

TEST_CASE("a time to live takes room, and gives it back") {
  Table table;
  const std::string key(100, 'k');
  table.set(key, "v");
  const size_t permanent = table.bytes();
  table.set_for(key, "v", Instant{} + std::chrono::seconds(1));
  const size_t temporary = table.bytes();
  CHECK(temporary > permanent + key.size());
  table.set_for(key, "w", Instant{} + std::chrono::seconds(2));
  CHECK(table.bytes() == temporary);
  table.set(key, "v");
  CHECK(table.bytes() == permanent);
  table.set_for(key, "v", Instant{} + std::chrono::seconds(1));
  table.expire(Instant{} + std::chrono::seconds(1));
  CHECK(table.bytes() == 0);
}
