// The table's operations on keys, their values and versions.
#include "store/table.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "table_play.h"

using namespace rdzv;
using rdzv::test::Play;

TEST_CASE("set makes a value and replaces it") {
  Play play;
  CHECK(play.value("k") == "(none)");
  play.table.set("k", "1");
  play.table.set("k", std::string(2, '\0'));
  CHECK(play.value("k") == std::string(2, '\0'));
  CHECK(play.table.size() == 1);
}

TEST_CASE("the empty key and the empty value are as good as others") {
  Play play;
  CHECK(play.wait('a', {""}));
  play.table.set("", "");
  CHECK(play.woken() == "1");
  CHECK(play.value("") == "");
  CHECK(play.table.has_all({""}));
}

TEST_CASE("append adds to the end and creates") {
  Play play;
  play.table.append("k", "ab");
  play.table.append("k", "cd");
  CHECK(play.value("k") == "abcd");
}

TEST_CASE("erase says whether there was something") {
  Play play;
  play.table.set("k", "1");
  CHECK(play.table.erase("k"));
  CHECK_FALSE(play.table.erase("k"));
  CHECK(play.table.size() == 0);
}

TEST_CASE("has_all of nothing is true") {
  Play play;
  CHECK(play.table.has_all({}));
  CHECK_FALSE(play.wait('a', {}));
}

TEST_CASE("compare_set of a missing key needs an empty expectation") {
  Play play;
  Table::CompareSet refused = play.table.compare_set("k", "old", "new");
  CHECK_FALSE(refused.swapped);
  CHECK(refused.current == nullptr);
  Table::CompareSet made = play.table.compare_set("k", "", "new");
  CHECK(made.swapped);
  CHECK(made.current->bytes == "new");
}

TEST_CASE("compare_set of another value returns what is there") {
  Play play;
  play.table.set("k", "mine");
  Table::CompareSet refused = play.table.compare_set("k", "", "new");
  CHECK_FALSE(refused.swapped);
  CHECK(refused.current->bytes == "mine");
  CHECK(play.table.compare_set("k", "mine", "new").swapped);
  CHECK(play.value("k") == "new");
}

TEST_CASE("versions grow with every write of the table and are never used twice") {
  Play play;
  Table& table = play.table;
  std::vector<uint64_t> seen;
  seen.push_back(table.set("a", "1"));
  seen.push_back(table.set("b", "1"));
  seen.push_back(table.append("a", "2"));
  seen.push_back(table.append("new", "2"));
  seen.push_back(table.add("n", 1).version);
  seen.push_back(table.compare_set("b", "1", "1").current->version);
  table.multi_set({"x", "1", "y", "1"});
  seen.push_back(play.version("x"));
  seen.push_back(play.version("y"));
  table.erase("a");
  seen.push_back(table.set("a", "1"));
  CHECK(std::adjacent_find(seen.begin(), seen.end(), std::greater_equal<>()) == seen.end());
  CHECK(play.version("a") == seen.back());
}

TEST_CASE("what changes nothing keeps the version") {
  Play play;
  play.table.set("k", "x");
  uint64_t version = play.version("k");
  play.table.compare_set("k", "y", "z");
  play.table.add("k", 1);
  CHECK(play.version("k") == version);
}

TEST_CASE("add counts from nothing, up and down") {
  Play play;
  CHECK(play.table.add("n", 0).value == 0);
  CHECK(play.value("n") == "0");
  CHECK(play.table.add("n", 5).value == 5);
  CHECK(play.table.add("n", -7).value == -2);
  CHECK(play.value("n") == "-2");
}

TEST_CASE("add takes decimal 64-bit numbers only") {
  auto status = [](Bytes text) {
    Play play;
    play.table.set("n", text);
    Table::AddStatus result = play.table.add("n", 0).status;
    if (result != Table::AddStatus::kOk) CHECK(play.value("n") == text);
    return result;
  };
  for (Bytes good : {"0", "-0", "007", "9223372036854775807", "-9223372036854775808"}) {
    CAPTURE(good);
    CHECK(status(good) == Table::AddStatus::kOk);
  }
  for (Bytes bad : {"", "-", "+1", " 1", "1 ", "1.0", "0x10", "1e3", "x", "--1",
                    "9223372036854775808", "-9223372036854775809"}) {
    CAPTURE(bad);
    CHECK(status(bad) == Table::AddStatus::kNotANumber);
  }
  CHECK(status(Bytes("1\0", 2)) == Table::AddStatus::kNotANumber);
}

TEST_CASE("add refuses a sum that does not fit and changes nothing") {
  Play play;
  play.table.set("n", "9223372036854775807");
  CHECK(play.table.add("n", 1).status == Table::AddStatus::kOverflow);
  CHECK(play.value("n") == "9223372036854775807");
  CHECK(play.table.add("m", INT64_MIN).value == INT64_MIN);
  CHECK(play.table.add("m", -1).status == Table::AddStatus::kOverflow);
}

TEST_CASE("sum says what add would, and changes nothing") {
  Play play;
  play.table.set("n", "41");
  CHECK(play.table.sum("n", 1).value == 42);
  CHECK(play.table.sum("missing", -1).value == -1);
  CHECK(play.table.sum("n", INT64_MAX).status == Table::AddStatus::kOverflow);
  CHECK(play.value("n") == "41");
  CHECK(play.value("missing") == "(none)");
  CHECK(play.table.version() == 1);
}

TEST_CASE("a restored table has the values and versions of the first, and goes on above them") {
  Play first, second;
  first.table.set("a", "1");
  first.table.set("b", "2");
  first.table.set("gone", "3");
  first.table.erase("gone");
  first.table.for_each_value([&](Bytes key, const Table::Value& value, auto expires_at) {
    second.table.restore(key, value.bytes, value.version, expires_at);
  });
  second.table.restore_version(first.table.version());
  CHECK(second.table.size() == 2);
  CHECK(second.value("b") == "2");
  CHECK(second.version("a") == first.version("a"));
  CHECK(second.table.set("c", "4") == 4);
}

TEST_CASE("a value may be made of the buffer that it came in") {
  Table table;
  std::string buffer(100'000, 'v');
  const char* bytes = buffer.data();
  table.offer(&buffer);
  table.set("small", "value");
  REQUIRE(buffer.size() == 100'000);
  table.set("k", buffer);
  CHECK(buffer.empty());
  CHECK(Bytes(table.find("k")->bytes).data() == bytes);
  CHECK(table.find("k")->bytes == std::string(100'000, 'v'));
  CHECK(table.find("small")->bytes == "value");
  table.offer(nullptr);
  table.append("k", "more");
  CHECK(table.find("k")->bytes.size() == 100'004);
}
