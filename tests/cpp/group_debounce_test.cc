// When a running round is told of nodes that came to wait: once for many.
#include <doctest/doctest.h>

#include <string>

#include "group_rules_scene.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

struct DebouncePlay : RulesPlay {
  explicit DebouncePlay(uint32_t max = 20) : RulesPlay(1, max) {
    settings.debounce_ms = 1000;
    join("a");
    at(0);
    group.expire(rdzv::Instant(std::chrono::seconds(30)));  // the last call
    CHECK(complete());
  }
  static rdzv::Instant at(int ms) { return rdzv::Instant(std::chrono::milliseconds(30'000 + ms)); }
  DebouncePlay& come(const std::string& names, int ms) {
    for (char name : names) group.join(node(name), settings, 0, at(ms));
    return *this;
  }
  // What a is told then.
  uint64_t told(int ms) {
    group.keep_alive(node('a'), at(ms));
    group.expire(at(ms));
    return changes('a', 1);
  }
};

}  // namespace

TEST_CASE("a newcomer is told when the debounce is over") {
  DebouncePlay play;
  play.come("b", 0);
  CHECK(play.told(999) == 0);
  CHECK(*play.group.newcomers_due() == DebouncePlay::at(1000));
  CHECK(*play.group.next_deadline() <= DebouncePlay::at(1000));
  CHECK(play.told(1000) == 1);
  CHECK_FALSE(play.group.newcomers_due());
}

TEST_CASE("each further newcomer begins the debounce anew, ten times at most") {
  DebouncePlay play;
  const std::string names = "bcdefghijklmnop";
  for (int i = 0; i < 11; ++i) {
    play.come(names.substr(static_cast<size_t>(i), 1), i * 900);
    CHECK(play.told(i * 900) == 0);
  }
  CHECK(play.told(9'999) == 0);
  CHECK(play.told(10'000) == 11);
}

TEST_CASE("who comes after newcomers were told is told at once") {
  DebouncePlay play;
  play.come("b", 0);
  CHECK(play.told(1000) == 1);
  play.come("c", 1100);
  CHECK(play.told(1100) == 2);
}

TEST_CASE("a lost node is told at once, with all that wait") {
  DebouncePlay play;
  play.come("b", 0);
  play.told(1000);
  play.group.join(RulesPlay::node('a'), play.settings, 1, DebouncePlay::at(1000));
  CHECK(play.in() == "ab");
  play.group.expire(DebouncePlay::at(40'000));
  for (int ms = 31'000; ms <= 40'000; ms += 3'000)
    for (char name : {'a', 'b'}) play.group.keep_alive(RulesPlay::node(name), DebouncePlay::at(ms));
  play.group.expire(DebouncePlay::at(40'000));
  REQUIRE(play.complete());
  play.come("c", 40'000);
  CHECK(play.changes('a', 2) == 0);
  play.group.drop(RulesPlay::node('b'), DebouncePlay::at(40'001));
  CHECK(play.changes('a', 2) == 2);
}

TEST_CASE("a participant that asks for a new round is told at once") {
  RulesPlay play(2, 5);
  play.settings.debounce_ms = 1000;
  play.join("ab").last_call_over();
  play.again("b");
  CHECK(play.changes('a', 1) == 1);
}

TEST_CASE("a newcomer that has gone again is never told") {
  DebouncePlay play;
  play.come("b", 0);
  play.group.leave(RulesPlay::node('b'), false, DebouncePlay::at(500));
  CHECK(play.told(1000) == 0);
}

TEST_CASE("each observer of a state has its own debounce") {
  DebouncePlay play;
  play.come("b", 0);
  Group other;
  other.observe(play.group.encode(), rdzv::Instant(std::chrono::seconds(7)));
  CHECK(other.changes() == 0);
  other.observe(play.group.encode(), rdzv::Instant(std::chrono::seconds(8)));
  CHECK(other.changes() == 1);
}
