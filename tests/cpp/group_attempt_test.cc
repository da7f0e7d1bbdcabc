// Starts of a job that share a name: a later attempt displaces an earlier one; and closed runs.
#include <doctest/doctest.h>

#include <string>

#include "group_rules_scene.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

struct AttemptPlay : RulesPlay {
  AttemptPlay() : RulesPlay(2, 3) {}
  AttemptPlay& of(const std::string& names, uint64_t attempt) {
    for (char name : names) facts[name].attempt = attempt;
    return *this;
  }
};

}  // namespace

TEST_CASE("a node of a later attempt begins the run anew, and the earlier ones learn it") {
  AttemptPlay play;
  play.join("abc");
  REQUIRE(play.complete());
  play.of("xy", 1).join("de").join("x");
  CHECK(play.round() == 2);
  CHECK_FALSE(play.complete());
  CHECK(play.in() == "x");
  CHECK(play.spares() == "");
  CHECK(play.lost() == "");
  CHECK(play.changes('a', 1) == 1);
  CHECK(play.join_error('a', play.settings, 1) == ErrorCode::kState);
  CHECK(play.message.find("the run is at attempt 1, and this node is of the first start") !=
        std::string::npos);
  play.join("y").last_call_over();
  CHECK(play.in() == "xy");
}

TEST_CASE("a node of an earlier attempt is told by which it was displaced") {
  AttemptPlay play;
  play.of("a", 7).of("b", 5).join("a");
  CHECK(play.join_error('b', play.settings) == ErrorCode::kState);
  CHECK(play.message.find("at attempt 7, and this node belongs to attempt 5") != std::string::npos);
}

TEST_CASE("a later attempt may have other settings, and opens what was closed") {
  AttemptPlay play;
  play.join("abc");
  play.group.close("the first attempt is over");
  play.settings.max_nodes = 2;
  play.of("x", 2).join("x");
  CHECK_FALSE(play.group.state().closed);
  CHECK(play.group.state().settings->max_nodes == 2);
}

TEST_CASE("ranks of an earlier attempt are forgotten") {
  AttemptPlay play;
  play.join("abd").lose("a");
  play.of("abcd", 1).join("dcb");
  CHECK(play.in() == "bcd");
}

TEST_CASE("who says no attempt may use the name when nobody is there") {
  AttemptPlay play;
  play.of("a", 3).join("a").leave("a");
  play.join("b");
  CHECK(play.in() == "b");
}

TEST_CASE("an earlier attempt's place is not resumed") {
  AttemptPlay play;
  play.of("ab", 2).join("a");
  CHECK(play.group.resume(RulesPlay::node('z'), play.settings, 9, 0, 2, {}) == Resumed::kRefused);
  CHECK(play.in() == "a");
  // A server that has restarted, and heard of the earlier one first.
  AttemptPlay restarted;
  restarted.group.resume(RulesPlay::node('z'), restarted.settings, 9, 0, 2, {});
  restarted.of("ab", 2);
  CHECK(restarted.group.resume(RulesPlay::node('a'), restarted.settings, 4, 1, 2, {},
                               restarted.facts['a']) == Resumed::kRefused);
  restarted.join("a");
  CHECK(restarted.in() == "a");
  CHECK(restarted.round() == 10);
}

TEST_CASE("a run is closed for a reason, and the first one stays") {
  RulesPlay play(2, 3);
  play.join("abc");
  play.group.close();
  play.group.close("the disk is full");
  play.group.close("something else");
  CHECK(play.group.state().close_reason == "the disk is full");
  CHECK(play.join_error('d', play.settings) == ErrorCode::kRunClosed);
  CHECK(play.message.find("the run is closed: 'the disk is full'; use another run id") !=
        std::string::npos);
  Group read;
  read.observe(play.group.encode(), {});
  CHECK(read.state().close_reason == "the disk is full");
}

TEST_CASE("a closed run is forgotten when its time is over and nobody is in it") {
  constexpr uint64_t kClosedAt = 1'000'000;
  const Duration day = std::chrono::hours(24);
  const uint64_t day_ms = 24 * 3600 * 1000;
  RulesPlay play(2, 3);
  play.join("abc");
  play.group.close("enough", kClosedAt);
  CHECK_FALSE(play.group.forget_close(kClosedAt + day_ms, day));  // its nodes are at work
  play.leave("abc");
  CHECK_FALSE(play.group.forget_close(kClosedAt + day_ms - 1, day));
  CHECK_FALSE(play.group.forget_close(kClosedAt - 1, day));  // by a clock that is behind
  CHECK(play.group.forget_close(kClosedAt + day_ms, day));
  play.join("d", 0);
  CHECK(play.in() == "d");
  CHECK(play.round() == 2);
}

TEST_CASE("a closed run without a time is never forgotten") {
  RulesPlay play(2, 3);
  play.group.close("enough");
  CHECK_FALSE(play.group.forget_close(UINT64_MAX, std::chrono::hours(24)));
}
