// The table's keys that expire.
#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

#include "store/table.h"
#include "table_play.h"

using namespace rdzv;
using Need = Table::Need;
using rdzv::test::Play;

TEST_CASE("a key is there until expire is called at its time or later") {
  Play play;
  play.table.set_for("k", "1", Play::at(5));
  CHECK(play.table.expire(Play::at(4)) == 0);
  CHECK(play.value("k") == "1");
  CHECK(play.table.expire(Play::at(5)) == 1);
  CHECK(play.value("k") == "(none)");
  CHECK(play.table.size() == 0);
  CHECK(play.table.expire(Play::at(6)) == 0);
}

TEST_CASE("next_expiry is the earliest time, and nothing where no key has one") {
  Play play;
  play.table.set("forever", "1");
  CHECK(play.table.next_expiry() == std::nullopt);
  play.table.set_for("b", "1", Play::at(7));
  play.table.set_for("a", "1", Play::at(5));
  play.table.set_for("c", "1", Play::at(6));
  CHECK(play.table.next_expiry() == Play::at(5));
  play.table.expire(Play::at(6));
  CHECK(play.table.next_expiry() == Play::at(7));
  play.table.erase("b");
  CHECK(play.table.next_expiry() == std::nullopt);
  CHECK(play.value("forever") == "1");
}

TEST_CASE("for_each_due shows what expire would erase") {
  Play play;
  play.table.set("forever", "1");
  play.table.set_for("b", "2", Play::at(5));
  play.table.set_for("a", "3", Play::at(5));
  play.table.set_for("c", "4", Play::at(4));
  play.table.set_for("later", "5", Play::at(6));
  std::string seen;
  play.table.for_each_due(Play::at(5), [&](Bytes key, const Table::Value& value, Instant at) {
    seen += std::string(key) + "=" + std::string(value.bytes) + (at == Play::at(4) ? "! " : " ");
  });
  CHECK(seen == "c=4! a=3 b=2 ");
  CHECK(play.table.size() == 5);
}

TEST_CASE("set_for again gives the key its new time, later or earlier") {
  Play play;
  play.table.set_for("k", "1", Play::at(5));
  play.table.set_for("k", "2", Play::at(9));
  CHECK(play.table.expire(Play::at(8)) == 0);
  play.table.set_for("k", "3", Play::at(8));
  CHECK(play.table.next_expiry() == Play::at(8));
  CHECK(play.table.expire(Play::at(8)) == 1);
}

TEST_CASE("what replaces the value makes the key permanent") {
  std::vector<void (*)(Table&)> writes = {
      [](Table& table) { table.set("k", "2"); },
      [](Table& table) { table.multi_set({"k", "2"}); },
      [](Table& table) { table.compare_set("k", "1", "2"); },
      [](Table& table) { table.set_if_version("k", "2", table.find("k")->version); },
  };
  for (size_t i = 0; i < writes.size(); ++i) {
    CAPTURE(i);
    Play play;
    play.table.set_for("k", "1", Play::at(5));
    writes[i](play.table);
    CHECK(play.table.next_expiry() == std::nullopt);
    CHECK(play.table.expire(Play::at(5)) == 0);
    CHECK(play.value("k") == "2");
  }
}

TEST_CASE("what changes the value in place, or not at all, keeps the key's time") {
  std::vector<void (*)(Table&)> operations = {
      [](Table& table) { table.add("k", 1); },
      [](Table& table) { table.append("k", "2"); },
      [](Table& table) { table.compare_set("k", "other", "2"); },
      [](Table& table) { table.set_if_version("k", "2", 99); },
      [](Table& table) { table.push("k", "item"); },
  };
  for (size_t i = 0; i < operations.size(); ++i) {
    CAPTURE(i);
    Play play;
    play.table.set_for("k", "1", Play::at(5));
    operations[i](play.table);
    CHECK(play.table.expiry("k") == Play::at(5));
    CHECK(play.table.expire(Play::at(5)) == 1);
  }
}

TEST_CASE("a deleted key takes its time with it") {
  for (bool by_prefix : {false, true}) {
    CAPTURE(by_prefix);
    Play play;
    play.table.set_for("k", "1", Play::at(5));
    if (by_prefix) {
      play.table.erase_prefix("k");
    } else {
      play.table.erase("k");
    }
    CHECK(play.table.next_expiry() == std::nullopt);
    play.table.add("k", 1);
    CHECK(play.table.expire(Play::at(5)) == 0);
    CHECK(play.value("k") == "1");
  }
}

TEST_CASE("expiry wakes watchers, in the order of the times and then of the names") {
  Play play;
  std::vector<std::pair<std::string, int>> keys = {{"z", 1}, {"y", 3}, {"x", 3}, {"w", 2}};
  for (const auto& [key, second] : keys)
    play.watch('a', key, play.table.set_for(key, "1", Play::at(second)));
  play.wait('a', {"z", "missing"});
  play.table.expire(Play::at(3));
  CHECK(play.woken() == "1 4 3 2");
  CHECK(play.table.waiters() == 1);
}

TEST_CASE("a key that expired comes back with a version never used before") {
  Play play;
  uint64_t before = play.table.set_for("k", "1", Play::at(1));
  play.table.expire(Play::at(1));
  CHECK(play.table.version() == before);
  CHECK(play.table.set("k", "1") > before);
}

TEST_CASE("set_for wakes whoever waits for the key") {
  Play play;
  play.wait('a', {"k"}, Need::kValue);
  play.table.set_for("k", "1", Play::at(1));
  CHECK(play.woken() == "1");
}

TEST_CASE("restore brings times back, and takes none where there is none") {
  Play first, second;
  first.table.set_for("a", "1", Play::at(4));
  first.table.set_for("b", "2", Play::at(5));
  first.table.set("c", "3");
  second.table.set_for("c", "old", Play::at(1));
  first.table.for_each_value([&](Bytes key, const Table::Value& value, auto expires_at) {
    second.table.restore(key, value.bytes, value.version, expires_at);
  });
  CHECK(second.table.next_expiry() == Play::at(4));
  CHECK(second.table.expiry("b") == Play::at(5));
  CHECK(second.table.expiry("c") == std::nullopt);
  CHECK(second.table.expire(Play::at(5)) == 2);
  CHECK(second.value("c") == "3");
}
