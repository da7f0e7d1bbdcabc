// What has changed under prefixes, and what is remembered of it.
#include <doctest/doctest.h>

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
  // Which prefixes it was told to, "[a/][a/b/]".
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

  PrefixFeeds feeds{HashSeed{1, 2}};
  std::set<std::string> awaited;
};

}  // namespace

TEST_CASE("feeds: a change is told to each prefix that has the key, and to no other") {
  Play play;
  for (Bytes prefix : {"a/", "a/b/", "b/", ""}) CHECK(play.keep(prefix));
  CHECK(play.change("a/b/c") == "[][a/][a/b/]");
  CHECK(play.change("a/") == "[][a/]");
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

TEST_CASE("feeds: what they remember is bounded, and whoever asks for more is told so") {
  Play play;
  CHECK(play.keep("k/"));
  const uint64_t begin = play.feeds.position("k/");
  const std::string long_name(1000, 'n');
  for (size_t i = 0; play.feeds.knows("k/", begin); ++i) {
    REQUIRE(i < 2000);
    play.change("k/" + std::to_string(i) + long_name);
  }
  CHECK(play.feeds.bytes() <= PrefixFeeds::kBytesOfOneMax);
  CHECK(play.feeds.bytes() > PrefixFeeds::kBytesOfOneMax / 2);
  CHECK(play.feeds.knows("k/", play.feeds.position("k/")));
}

TEST_CASE("feeds: all prefixes together have so much, and no more") {
  Play play;
  for (int i = 100; i < 200; ++i) CHECK(play.keep(std::to_string(i) + "/"));
  const std::string long_name(16'000, 'n');
  for (int round = 0; round < 80; ++round) {
    for (int i = 100; i < 200; ++i)
      play.change(std::to_string(i) + "/" + std::to_string(round) + long_name);
  }
  CHECK(play.feeds.bytes() <= PrefixFeeds::kBytesOfAllMax);
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
  CHECK_FALSE(play.keep("one more"));
}

TEST_CASE("feeds: prefixes have so many lengths, as a change looks at each") {
  Play play;
  for (size_t i = 0; i < PrefixFeeds::kLengthsMax; ++i) {
    CHECK(play.keep(std::string(i, 'x')));
    play.awaited.insert(std::string(i, 'x'));
  }
  CHECK_FALSE(play.keep(std::string(1000, 'x')));
  CHECK(play.keep("y"));
  play.awaited.erase("xxx");
  CHECK(play.keep(std::string(1000, 'x')));
  CHECK(play.feeds.position("xxx") == 0);
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
