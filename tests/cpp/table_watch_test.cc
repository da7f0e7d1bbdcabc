// The table's versions: watching a key, conditional writes, and deleting by prefix.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "store/table.h"
#include "table_play.h"

using namespace rdzv;
using Need = Table::Need;
using rdzv::test::Play;

TEST_CASE("a watcher waits while the version is the one it knows") {
  Play play;
  uint64_t version = play.table.set("k", "1");
  CHECK_FALSE(play.watch('a', "k", version + 1));
  CHECK_FALSE(play.watch('a', "k", 0));
  CHECK(play.watch('a', "k", version));
  CHECK_FALSE(play.watch('a', "missing", version));
  CHECK_FALSE(play.watch('a', "missing", UINT64_MAX));
  CHECK(play.watch('a', "missing", 0));
  CHECK(play.woken() == "");
}

TEST_CASE("every kind of write wakes all watchers of the key, in order of arrival, and no others") {
  std::vector<void (*)(Table&)> writes = {
      [](Table& table) { table.set("k", "5"); },
      [](Table& table) { table.append("k", "5"); },
      [](Table& table) { table.add("k", 0); },
      [](Table& table) { table.multi_set({"x", "1", "k", "5"}); },
      [](Table& table) { table.compare_set("k", "5", "5"); },
      [](Table& table) { table.set_if_version("k", "5", table.find("k")->version); },
      [](Table& table) { table.set_for("k", "5", Play::at(9)); },
      [](Table& table) { table.erase("k"); },
      [](Table& table) { table.erase_prefix("k"); },
  };
  for (size_t i = 0; i < writes.size(); ++i) {
    CAPTURE(i);
    Play play;
    uint64_t version = play.table.set("k", "5");
    play.watch('a', "k", version);
    play.watch('b', "other", 0);
    play.watch('b', "k", version);
    writes[i](play.table);
    CHECK(play.woken() == "1 3");
    CHECK(play.table.waiters() == 1);
  }
}

TEST_CASE("what changes no value wakes no watcher") {
  Play play;
  uint64_t version = play.table.set("k", "word");
  play.watch('a', "k", version);
  play.watch('a', "missing", 0);
  play.table.compare_set("k", "other", "x");
  play.table.compare_set("missing", "other", "x");
  play.table.set_if_version("k", "x", 0);
  play.table.set_if_version("missing", "x", 99);
  play.table.add("k", 1);
  play.table.push("k", "item");
  play.table.push("missing", "item");
  play.table.erase("missing");
  play.table.erase_prefix("z");
  CHECK(play.woken() == "");
  CHECK(play.table.waiters() == 2);
}

TEST_CASE("a key that is deleted and set again has a version that no watcher knows") {
  Play play;
  uint64_t before = play.table.set("k", "1");
  play.table.erase("k");
  CHECK_FALSE(play.watch('a', "k", before));
  CHECK(play.watch('a', "k", 0));
  uint64_t after = play.table.set("k", "1");
  CHECK(play.woken() == "2");
  CHECK(after > before);
  CHECK_FALSE(play.watch('a', "k", before));
}

TEST_CASE("deletion wakes watchers only") {
  Play play;
  uint64_t version = play.table.set("k", "1");
  play.wait('a', {"k", "never"});
  play.wait('a', {"k"}, Need::kCount, 10);
  play.watch('a', "k", version);
  play.table.erase("k");
  CHECK(play.woken() == "3");
  CHECK(play.table.waiters() == 2);
}

TEST_CASE("a watcher can be cancelled, dropped, and asked what it misses") {
  Play play;
  play.watch('a', "k", 0);
  play.watch('b', "k", 0);
  CHECK(play.table.missing_keys(*play.parked[1]) == std::vector<Bytes>{"k"});
  play.table.cancel(play.parked[1]);
  play.table.drop(play.owners['b']);
  play.table.set("k", "1");
  CHECK(play.woken() == "");
  CHECK(play.table.waiters() == 0);
}

TEST_CASE("set_if_version sets only where the version is as expected; 0 is that of no value") {
  Play play;
  Table::VersionSet refused = play.table.set_if_version("k", "1", 7);
  CHECK_FALSE(refused.swapped);
  CHECK(refused.version == 0);
  CHECK(play.value("k") == "(none)");

  Table::VersionSet made = play.table.set_if_version("k", "1", 0);
  CHECK(made.swapped);
  CHECK(made.version == play.version("k"));

  CHECK_FALSE(play.table.set_if_version("k", "2", 0).swapped);
  Table::VersionSet stale = play.table.set_if_version("k", "2", made.version + 1);
  CHECK_FALSE(stale.swapped);
  CHECK(stale.version == made.version);
  CHECK(play.value("k") == "1");

  Table::VersionSet second = play.table.set_if_version("k", "2", made.version);
  CHECK(second.swapped);
  CHECK(second.version > made.version);
  CHECK(play.value("k") == "2");
}

TEST_CASE("set_if_version wakes whoever waits for the key") {
  Play play;
  play.wait('a', {"k"}, Need::kValue);
  play.table.set_if_version("k", "1", 5);
  CHECK(play.woken() == "");
  play.table.set_if_version("k", "1", 0);
  CHECK(play.woken() == "1");
}

TEST_CASE("erase_prefix erases the keys that begin so, and no queue") {
  Play play;
  for (Bytes key : {"a", "a/", "a/1", "a/2", "ab", "b/a/1"}) play.table.set(key, "1");
  play.table.push("a/1", "item");
  CHECK(play.table.erase_prefix("a/") == 3);
  CHECK(play.table.erase_prefix("a/") == 0);
  CHECK(play.value("a") == "1");
  CHECK(play.value("b/a/1") == "1");
  CHECK(play.table.queue_size("a/1") == 1);
  CHECK(play.table.erase_prefix("") == 3);
  CHECK(play.table.size() == 0);
  CHECK(play.table.queue_size("a/1") == 1);
}

TEST_CASE("erase_prefix wakes the watchers of its keys, in the order of the keys") {
  Play play;
  std::vector<std::string> keys;
  for (char letter = 'j'; letter >= 'a'; --letter) keys.push_back(std::string("k/") + letter);
  for (const std::string& key : keys) play.watch('a', key, play.table.set(key, "1"));
  play.watch('a', "k", play.table.set("k", "1"));
  play.table.erase_prefix("k/");
  CHECK(play.woken() == "10 9 8 7 6 5 4 3 2 1");
}
