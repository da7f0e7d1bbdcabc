// Those who wait for one shared list of keys stand in line as one.
#include <doctest/doctest.h>

#include "table_play.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

struct Group : Play {
  SharedKeys list = std::make_shared<WantedKeys>(std::vector<Bytes>{"a", "b", "c"});

  bool wait_for_list(char owner, Table::Need need = Table::Need::kPresent) {
    Table::Waiter* waiter = table.wait(owners[owner], ++last_tag, list, need);
    parked[last_tag] = waiter;
    return waiter != nullptr;
  }
};

}  // namespace

TEST_CASE("waiters of one list wake together, in the order in which they came") {
  Group play;
  for (char owner : {'x', 'y', 'z'}) CHECK(play.wait_for_list(owner));
  CHECK(play.table.is_awaited(play.list, Table::Need::kPresent));
  CHECK(!play.table.is_awaited(play.list, Table::Need::kValue));
  play.table.set("c", "1");
  play.table.set("a", "1");
  CHECK(play.woken() == "");
  play.table.set("b", "1");
  CHECK(play.woken() == "1 2 3");
  CHECK(!play.table.is_awaited(play.list, Table::Need::kPresent));
  CHECK(play.table.waiters() == 0);
  CHECK(!play.wait_for_list('x'));
}

TEST_CASE("a list's waiters go on when the first, one between or the last of them leaves") {
  for (uint64_t leaver : {1, 2, 3}) {
    CAPTURE(leaver);
    Group play;
    for (char owner : {'x', 'y', 'z'}) play.wait_for_list(owner);
    play.table.set("a", "1");
    play.table.cancel(play.parked[leaver]);
    CHECK(play.wait_for_list('w'));
    play.table.set("b", "1");
    play.table.set("c", "1");
    std::string expected;
    for (uint64_t tag : {1, 2, 3, 4}) {
      if (tag != leaver) expected += (expected.empty() ? "" : " ") + std::to_string(tag);
    }
    CHECK(play.woken() == expected);
    CHECK(play.table.waiters() == 0);
  }
}

TEST_CASE("a list of which all waiters left is awaited by nobody") {
  Group play;
  play.wait_for_list('x');
  play.wait_for_list('y');
  play.table.drop(play.owners['x']);
  CHECK(play.table.is_awaited(play.list, Table::Need::kPresent));
  play.table.drop(play.owners['y']);
  CHECK(!play.table.is_awaited(play.list, Table::Need::kPresent));
  for (const char* key : {"a", "b", "c"}) play.table.set(key, "1");
  CHECK(play.woken() == "");
}

TEST_CASE("needs of one list are met apart: a queue is no value") {
  Group play;
  play.wait_for_list('x', Table::Need::kPresent);
  play.wait_for_list('y', Table::Need::kValue);
  play.table.set("a", "1");
  play.table.set("b", "1");
  play.table.push("c", "item");
  CHECK(play.woken() == "1");
  play.table.set("c", "1");
  CHECK(play.woken() == "2");
}

TEST_CASE("a list's waiters and those of single keys stand in one line") {
  Group play;
  play.wait('v', {"a"});
  play.wait_for_list('x');
  play.wait_for_list('y');
  play.wait('w', {"a"});
  play.table.cancel(play.parked[2]);
  play.table.set("a", "1");
  CHECK(play.woken() == "1 4");
  play.table.multi_set({"b", "1", "c", "1"});
  CHECK(play.woken() == "3");
}
