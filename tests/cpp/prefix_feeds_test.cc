// What has changed under prefixes, and what is remembered of it.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>

#include "store/prefix_feeds.h"
#include "store/table.h"

using namespace rdzv;

namespace {

struct Play {
  bool keep(Bytes prefix) {
    return feeds.keep(prefix, [this](Bytes kept) { return awaited.contains(std::string(kept)); });
  }
  // Which prefixes it was told to, "[a/b/][a/]".
  std::string change(Bytes key) {
    std::string told;
    feeds.note(key, [&](Bytes prefix) { told.append("[").append(prefix).append("]"); });
    return told;
  }
  // The keys behind a position, which is the last one's then.
  std::string since(Bytes prefix, uint64_t& position) {
    std::string keys;
    while (const std::string* key = feeds.next(prefix, position))
      keys.append(keys.empty() ? "" : " ").append(*key);
    return keys;
  }

  PrefixFeeds feeds;
  std::set<std::string> awaited;
};

}  // namespace

TEST_CASE("feeds: a change is told to each prefix that has the key, and to no other") {
  Play play;
  for (Bytes prefix : {"a/", "a/b/", "b/", ""}) CHECK(play.keep(prefix));
  CHECK(play.change("a/b/c") == "[a/b/][a/][]");
  CHECK(play.change("a/") == "[a/][]");
  CHECK(play.change("a") == "[]");
  uint64_t position = play.feeds.position("b/");
  CHECK(play.since("b/", position) == "");
}

TEST_CASE("feeds: each key is there once, where it changed last") {
  Play play;
  CHECK(play.feeds.position("k/") == 0);
  CHECK(play.keep("k/"));
  uint64_t position = play.feeds.position("k/");
  const uint64_t first = position;
  for (Bytes key : {"k/1", "k/2", "k/3", "k/1", "k/2", "k/2"}) play.change(key);
  CHECK(play.since("k/", position) == "k/3 k/1 k/2");
  CHECK(position == play.feeds.position("k/"));
  play.change("k/3");
  CHECK(play.since("k/", position) == "k/3");
  CHECK(play.feeds.knows("k/", first));
  CHECK(play.feeds.knows("k/", position));
  CHECK_FALSE(play.feeds.knows("k/", position + 1));
  CHECK_FALSE(play.feeds.knows("k/", first - 1));
  CHECK_FALSE(play.feeds.knows("other/", first));
}

TEST_CASE("feeds: one that has become too large goes, and writes pay for it no more") {
  Play play;
  CHECK(play.keep("k/"));
  CHECK(play.keep("k/kept/"));
  const uint64_t begin = play.feeds.position("k/");
  const std::string long_name(1000, 'n');
  size_t most = 0;
  for (size_t i = 0; play.feeds.knows("k/", begin); ++i) {
    REQUIRE(i < 2000);
    most = std::max(most, play.feeds.bytes());
    play.change("k/" + std::to_string(i) + long_name);
  }
  CHECK(most <= PrefixFeeds::kBytesOfOneMax);
  CHECK(most > PrefixFeeds::kBytesOfOneMax / 2);
  CHECK(play.feeds.bytes() < 1000);  // of the one that is left
  CHECK(play.change("k/kept/1") == "[k/kept/]");
  CHECK(play.keep("k/"));
  CHECK_FALSE(play.feeds.knows("k/", begin));
  CHECK(play.change("k/kept/1") == "[k/kept/][k/]");
  CHECK(play.feeds.take_noted() > most / 2000);
  CHECK(play.feeds.take_noted() == 0);
}

TEST_CASE("feeds: all prefixes together have so much, and no more") {
  Play play;
  const std::string long_name(16'000, 'n');
  for (int round = 0; round < 80; ++round) {
    for (int i = 100; i < 200; ++i) {
      const std::string prefix = std::to_string(i) + "/";
      CHECK(play.keep(prefix));
      play.change(prefix + std::to_string(round % 60) + long_name);
      REQUIRE(play.feeds.bytes() <= PrefixFeeds::kBytesOfAllMax);
    }
  }
}

TEST_CASE("feeds: a key's prefixes are found, whatever lies between them") {
  Play play;
  // One after the other, in any order, and gone again.
  for (Bytes prefix : {"abc", "a", "ab", "abb", "abcd", "b", "aba"}) CHECK(play.keep(prefix));
  CHECK(play.change("abcde") == "[abcd][abc][ab][a]");
  CHECK(play.change("abbb") == "[abb][ab][a]");
  CHECK(play.change("abz") == "[ab][a]");
  CHECK(play.change("az") == "[a]");
  CHECK(play.change("c") == "");
  CHECK(play.change("") == "");
}

TEST_CASE("feeds: the longest unused goes for a new one, unless somebody waits for it") {
  Play play;
  const auto name = [](size_t i) { return std::to_string(10'000 + i); };
  for (size_t i = 0; i < PrefixFeeds::kPrefixesMax; ++i) CHECK(play.keep(name(i)));
  CHECK(play.keep(name(0)));
  play.awaited.insert(name(1));
  const uint64_t begin = play.feeds.position(name(2));
  CHECK(play.keep("new00"));
  CHECK(play.feeds.position(name(0)) != 0);
  CHECK(play.feeds.position(name(1)) != 0);
  CHECK(play.feeds.position(name(2)) == 0);
  // It comes back as another one.
  CHECK(play.keep(name(2)));
  CHECK_FALSE(play.feeds.knows(name(2), begin));
  CHECK(play.feeds.prefixes() == PrefixFeeds::kPrefixesMax);
  for (size_t i = 0; i < PrefixFeeds::kPrefixesMax; ++i) play.awaited.insert(name(i));
  play.awaited.insert("new00");
  play.feeds.take_visited();
  CHECK_FALSE(play.keep("one more"));
  CHECK(play.feeds.take_visited() == PrefixFeeds::kPrefixesMax);
  CHECK(play.feeds.take_visited() == 0);
  CHECK_FALSE(play.keep(""));  // all others have its keys
  CHECK(play.feeds.take_visited() >= 2 * PrefixFeeds::kPrefixesMax);
}

TEST_CASE("feeds: a key has so many prefixes, as a change is told to each") {
  Play play;
  for (size_t i = 1; i <= PrefixFeeds::kDepthMax; ++i) {
    CHECK(play.keep(std::string(2 * i, 'x')));
    play.awaited.insert(std::string(2 * i, 'x'));
  }
  for (size_t length : {1, 5, 1000}) CHECK_FALSE(play.keep(std::string(length, 'x')));
  CHECK(play.keep("y"));
  CHECK(play.keep("xy"));
  play.awaited.erase("xxxx");
  CHECK(play.keep(std::string(5, 'x')));
  CHECK(play.feeds.position("xxxx") == 0);
  play.awaited.insert(std::string(5, 'x'));
  CHECK_FALSE(play.keep(std::string(7, 'x')));
}

TEST_CASE("feeds: one that is refused for its depth costs others nothing") {
  Play play;
  for (size_t i = 1; i <= PrefixFeeds::kDepthMax; ++i) {
    CHECK(play.keep(std::string(i, 'x')));
    play.awaited.insert(std::string(i, 'x'));
  }
  const auto name = [](size_t i) { return "y" + std::to_string(10'000 + i); };
  const size_t others = PrefixFeeds::kPrefixesMax - PrefixFeeds::kDepthMax;
  for (size_t i = 0; i < others; ++i) CHECK(play.keep(name(i)));
  CHECK_FALSE(play.keep(std::string(100, 'x')));
  CHECK_FALSE(play.keep(""));
  CHECK(play.feeds.prefixes() > PrefixFeeds::kDepthMax);
  CHECK(play.feeds.prefixes() == PrefixFeeds::kPrefixesMax);
}

TEST_CASE("every kind of write and every deletion of a table is a change of its prefixes") {
  const std::vector<void (*)(Table&)> writes = {
      [](Table& table) { table.set("k/1", "5"); },
      [](Table& table) { table.append("k/1", "5"); },
      [](Table& table) { table.add("k/1", 1); },
      [](Table& table) { table.multi_set({"x", "1", "k/1", "5"}); },
      [](Table& table) { table.compare_set("k/1", "5", "6"); },
      [](Table& table) { table.set_if_version("k/1", "5", table.find("k/1")->version); },
      [](Table& table) { table.set_for("k/1", "5", Instant(Duration(9))); },
      [](Table& table) { table.erase("k/1"); },
      [](Table& table) { table.erase_prefix("k"); },
      [](Table& table) {
        table.set_for("k/1", "5", Instant(Duration(1)));
        table.expire(Instant(Duration(2)));
      },
  };
  for (size_t i = 0; i < writes.size(); ++i) {
    CAPTURE(i);
    Table table;
    table.set("k/1", "5");
    REQUIRE(table.keep_feed("k/"));
    uint64_t position = table.feeds().position("k/");
    Table::WaiterOwner owner;
    CHECK(table.wait(owner, 7, {"k/"}, Table::Need::kUnder, static_cast<int64_t>(position)));
    writes[i](table);
    CHECK(table.take_woken().size() == 1);
    const std::string* key = table.feeds().next("k/", position);
    REQUIRE(key != nullptr);
    CHECK(*key == "k/1");
    table.drop(owner);
  }
}

TEST_CASE(
    "feeds: one that has gone is cleared out of memory in parts, also by who goes on writing") {
  Play play;
  CHECK(play.keep("k/"));
  CHECK(play.keep("other/"));
  CHECK_FALSE(play.feeds.has_gone());
  size_t changes = 0;
  for (; play.feeds.knows("k/", play.feeds.position("k/")); ++changes)
    play.change("k/" + std::to_string(changes));
  CHECK(play.feeds.has_gone());
  // Two parts of each change, and what held them.
  CHECK(play.feeds.clear_gone(changes) == changes);
  CHECK(play.feeds.clear_gone(changes) == changes);
  CHECK(play.feeds.has_gone());
  CHECK(play.feeds.clear_gone(changes) == 1);
  CHECK_FALSE(play.feeds.has_gone());

  CHECK(play.keep("k/"));
  for (size_t i = 0; i < changes; ++i) play.change("k/" + std::to_string(i));
  CHECK(play.feeds.has_gone());
  size_t written = 0;
  while (play.feeds.has_gone()) play.change("other/" + std::to_string(written++));
  CHECK(written <= changes / 2 + 1);
  uint64_t position = 0;
  CHECK(play.since("other/", position).size() > 0);
}
