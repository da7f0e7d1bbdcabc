// Who waits for keys of the table, and who is woken when.
#include <doctest/doctest.h>

#include <deque>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "store/table.h"
#include "table_play.h"

using namespace rdzv;
using rdzv::test::Play;

TEST_CASE("every operation that makes a key wakes its waiters") {
  Play play;
  for (Bytes key : {"set", "append", "add", "swap", "one", "two"}) play.wait('a', {key});
  play.table.set("set", "");
  CHECK(play.woken() == "1");
  play.table.append("append", "");
  CHECK(play.woken() == "2");
  play.table.add("add", 0);
  CHECK(play.woken() == "3");
  play.table.compare_set("swap", "", "");
  CHECK(play.woken() == "4");
  play.table.multi_set({"one", "", "two", ""});
  CHECK(play.woken() == "5 6");
  CHECK(play.table.waiters() == 0);
}

TEST_CASE("an operation that fails wakes nobody") {
  Play play;
  play.wait('a', {"k"});
  play.table.compare_set("k", "expected", "new");
  play.table.erase("k");
  CHECK(play.woken() == "");
  CHECK(play.table.waiters() == 1);
}

TEST_CASE("waiters wake in the order they came, once") {
  Play play;
  for (char owner : {'a', 'b', 'a', 'c'}) play.wait(owner, {"k"});
  play.table.set("k", "1");
  CHECK(play.woken() == "1 2 3 4");
  play.table.set("k", "2");
  CHECK(play.woken() == "");
}

TEST_CASE("a wait for several keys ends when all are there") {
  Play play;
  play.wait('a', {"x", "y", "z"});
  play.table.set("y", "");
  play.table.set("x", "");
  CHECK(play.woken() == "");
  play.table.set("z", "");
  CHECK(play.woken() == "1");
}

TEST_CASE("a key deleted meanwhile is waited for again") {
  Play play;
  play.wait('a', {"x", "y"});
  play.table.set("x", "");
  play.table.erase("x");
  play.table.set("y", "");
  CHECK(play.woken() == "");
  play.table.erase("y");
  play.table.set("x", "");
  CHECK(play.woken() == "");
  play.table.set("y", "");
  CHECK(play.woken() == "1");
}

TEST_CASE("a key named twice is waited for once") {
  Play play;
  play.wait('a', {"x", "x", "x"});
  play.table.set("x", "");
  CHECK(play.woken() == "1");
}

TEST_CASE("who waits for several keys of a multi_set sees them all, and wakes once") {
  Play play;
  play.wait('a', {"x", "y"});
  play.wait('a', {"y", "x"});
  play.wait('a', {"y", "missing"});
  play.table.multi_set({"x", "1", "y", "2", "x", "3"});
  CHECK(play.woken() == "1 2");
  CHECK(play.value("x") == "3");
  CHECK(play.table.waiters() == 1);
}

TEST_CASE("cancel ends one wait and no other") {
  Play play;
  for (int i = 0; i < 5; ++i) play.wait('a', {"k"});
  for (uint64_t tag : {1, 5, 3}) play.table.cancel(play.parked[tag]);
  CHECK(play.owners['a'].waiters() == 2);
  play.table.set("k", "");
  CHECK(play.woken() == "2 4");
}

TEST_CASE("after the last cancel a key can be waited for again") {
  Play play;
  play.wait('a', {"k"});
  play.table.cancel(play.parked[1]);
  CHECK(play.table.waiters() == 0);
  play.wait('a', {"k"});
  play.table.set("k", "");
  CHECK(play.woken() == "2");
}

TEST_CASE("a wait that has moved to its next key can be cancelled") {
  Play play;
  play.wait('a', {"x", "y"});
  play.wait('b', {"y"});
  play.table.set("x", "");
  play.table.cancel(play.parked[1]);
  play.table.set("y", "");
  CHECK(play.woken() == "2");
}

TEST_CASE("missing_keys names those that are missing now") {
  Play play;
  play.wait('a', {"x", "y", "z"});
  play.table.set("x", "");
  play.table.set("y", "");
  play.table.erase("x");
  CHECK(play.table.missing_keys(*play.parked[1]) == std::vector<Bytes>{"x", "z"});
}

TEST_CASE("drop ends the waits of one owner") {
  Play play;
  for (int i = 0; i < 100; ++i) {
    play.wait('a', {"k", "l"});
    play.wait('b', {"k"});
  }
  play.table.drop(play.owners['a']);
  CHECK(play.owners['a'].waiters() == 0);
  CHECK(play.table.waiters() == 100);
  play.table.drop(play.owners['a']);
  play.table.set("k", "");
  CHECK(play.table.take_woken().size() == 100);
}

TEST_CASE("20,000 owners of one key leave one by one without a scan") {
  Table table;
  std::deque<Table::WaiterOwner> owners(20'000);
  for (Table::WaiterOwner& owner : owners) table.wait(owner, 0, {"k"});
  for (size_t i = 0; i < owners.size(); ++i) table.drop(owners[(i * 7919) % owners.size()]);
  CHECK(table.waiters() == 0);
  table.set("k", "");
  CHECK(table.take_woken().empty());
}

TEST_CASE("20,000 waiters of one key wake in one pass") {
  Table table;
  std::deque<Table::WaiterOwner> owners(100);
  for (uint64_t tag = 0; tag < 20'000; ++tag) table.wait(owners[tag % 100], tag, {"k"});
  table.set("k", "1");
  std::vector<Table::Woken> woken = table.take_woken();
  REQUIRE(woken.size() == 20'000);
  for (uint64_t tag = 0; tag < woken.size(); ++tag) {
    REQUIRE(woken[tag].tag == tag);
    REQUIRE(woken[tag].owner == &owners[tag % 100]);
  }
  CHECK(table.waiters() == 0);
}

TEST_CASE("a wait for 10,000 keys that come in any order looks at each a few times") {
  Table table;
  Table::WaiterOwner owner;
  std::vector<std::string> names;
  for (int i = 0; i < 10'000; ++i) names.push_back("key" + std::to_string(i));
  table.wait(owner, 1, std::vector<Bytes>(names.begin(), names.end()));
  std::mt19937 random(7);
  for (size_t i = names.size(); i > 1; --i) std::swap(names[i - 1], names[random() % i]);
  for (size_t i = 0; i < names.size(); ++i) {
    CHECK(table.take_woken().empty());
    table.set(names[i], "");
  }
  CHECK(table.take_woken().size() == 1);
}
