// Marks: a reader learns that one of its keys has changed.
#include <doctest/doctest.h>

#include "table_play.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

constexpr Table::Marks kFirst = 1;
constexpr Table::Marks kSecond = 2;

}  // namespace

TEST_CASE("whatever changes a marked value hits its readers, and them alone") {
  Play play;
  Table& table = play.table;
  auto hits = [&](auto&& change) {
    table.set("k", "1");
    table.set("other", "1");
    table.mark("k", kFirst);
    table.mark("other", kSecond);
    table.forget_hits(~Table::Marks{0});
    change();
    return table.hits();
  };
  CHECK(hits([&] { table.set("k", "2"); }) == kFirst);
  CHECK(hits([&] { table.append("k", "2"); }) == kFirst);
  CHECK(hits([&] { table.add("k", 1); }) == kFirst);
  CHECK(hits([&] { table.multi_set({"k", "1"}); }) == kFirst);
  CHECK(hits([&] { table.compare_set("k", "1", "2"); }) == kFirst);
  CHECK(hits([&] { table.set_if_version("k", "2", play.version("k")); }) == kFirst);
  CHECK(hits([&] { table.set_for("k", "2", Play::at(5)); }) == kFirst);
  CHECK(hits([&] { table.erase("k"); }) == kFirst);
  CHECK(hits([&] { table.erase_prefix("k"); }) == kFirst);
  CHECK(hits([&] { table.set("elsewhere", "2"); }) == 0);
  CHECK(hits([&] { table.compare_set("k", "not this", "2"); }) == 0);
  CHECK(hits([&] { table.add("elsewhere", 1); }) == 0);
  CHECK(hits([&] { table.find("k"); }) == 0);
}

TEST_CASE("a marked value that expires hits its readers") {
  Play play;
  play.table.set_for("k", "1", Play::at(5));
  play.table.mark("k", kFirst);
  play.table.expire(Play::at(4));
  CHECK(play.table.hits() == 0);
  play.table.expire(Play::at(5));
  CHECK(play.table.hits() == kFirst);
}

TEST_CASE("a key that was marked before it was there hits its readers when it comes") {
  Play play;
  CHECK(play.table.mark("k", kFirst) == nullptr);
  play.table.mark("q", kSecond);
  play.table.set("elsewhere", "1");
  CHECK(play.table.hits() == 0);
  play.table.set("k", "1");
  CHECK(play.table.hits() == kFirst);
  play.table.push("q", "item");
  CHECK(play.table.hits() == (kFirst | kSecond));
  CHECK(play.table.absent_marked() == 0);
}

TEST_CASE("a queue's last item hits the readers of a key without a value") {
  Play play;
  play.table.push("q", "1");
  play.table.push("q", "2");
  play.table.mark("q", kFirst);
  play.pop("q");
  CHECK(play.table.hits() == 0);
  play.pop("q");
  CHECK(play.table.hits() == kFirst);
}

TEST_CASE("a reader that goes leaves no mark of missing keys behind") {
  Play play;
  play.table.mark("k", kFirst);
  play.table.mark("k", kSecond);
  play.table.unmark("k", kFirst);
  play.table.unmark("not marked", kFirst);
  CHECK(play.table.absent_marked() == 1);
  play.table.set("k", "1");
  CHECK(play.table.hits() == kSecond);
  play.table.mark("k", kFirst);
  play.table.unmark("k", kFirst);
  CHECK(play.table.absent_marked() == 0);
}
