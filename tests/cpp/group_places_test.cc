// Who has a place when there are more nodes than places: former members before those that come first.
#include <doctest/doctest.h>

#include <string>

#include "group_rules_scene.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

bool is_possible(const Group& group) {
  GroupState state;
  const auto problem = decode_state(group.encode(), state);
  if (problem) MESSAGE(problem->message());
  return !problem;
}

}  // namespace

TEST_CASE("the place of a node whose job broke is kept against spares") {
  RulesPlay play(2, 2);
  play.join("ab").join("e").fail("b");
  CHECK(play.spares() == "e");
  CHECK(play.waiting() == "");
  CHECK(is_possible(play.group));
  play.again("a");
  CHECK_FALSE(play.complete());
  CHECK(is_possible(play.group));
  play.join("b", 1);
  CHECK(play.complete());
  CHECK(play.in() == "ab");
  CHECK(play.spares() == "e");
  CHECK(is_possible(play.group));
}

TEST_CASE("it comes back before the others: its place is there") {
  RulesPlay play(2, 2);
  play.join("ab").join("e").fail("b").join("b", 1);
  CHECK(play.waiting() == "b");
  play.again("a");
  CHECK(play.in() == "ab");
}

TEST_CASE("a kept place is given to a spare when the last call is over") {
  RulesPlay play(2, 2);
  play.join("ab").join("ed").fail("b").again("a");
  CHECK(play.last_call());
  play.last_call_over();
  CHECK(play.complete());
  CHECK(play.in() == "ae");
  CHECK(play.rank('e') == 1);
  CHECK(play.spares() == "d");
  CHECK(play.changes('a', 2) == 0);
}

TEST_CASE("nobody waits for a node that was lost, or that gave up") {
  RulesPlay lost(2, 2);
  lost.join("ab").join("e").lose("b").again("a");
  CHECK(lost.in() == "ae");
  RulesPlay gone(2, 2);
  gone.join("ab").join("e");
  gone.group.give_up(RulesPlay::node('b'), {}, {});
  gone.again("a");
  CHECK(gone.in() == "ae");
}

TEST_CASE("a node that was lost and is back in time is taken before who came first") {
  RulesPlay play(3, 3);
  play.join("abc").join("ed").lose("b");
  CHECK(play.waiting() == "e");
  const uint64_t moves = play.group.promotions();
  play.join("b", 1);
  CHECK(play.waiting() == "b");
  CHECK(play.spares() == "ed");
  CHECK(play.group.promotions() > moves);
  CHECK(is_possible(play.group));
  play.again("ac");
  CHECK(play.in() == "abc");
}

TEST_CASE("former members take no place from each other") {
  RulesPlay play(2, 2);
  play.join("ab").join("e").fail("b").again("a").join("b", 1);
  play.fail("a").join("a", 2).again("b");
  CHECK(play.in() == "ab");
  CHECK(play.round() == 3);
}

TEST_CASE("without former_first, places go to those that come first") {
  RulesPlay play(2, 2);
  play.settings.former_first = false;
  play.join("ab").join("e").fail("b").again("a");
  CHECK(play.in() == "ae");
  play.join("b", 1);
  CHECK(play.spares() == "b");
}

TEST_CASE("a place is kept for one round only") {
  RulesPlay play(1, 2);
  play.join("ab").fail("b").again("a").last_call_over();
  CHECK(play.in() == "a");
  play.join("e");
  CHECK(play.waiting() == "e");
  play.join("b", 1);
  CHECK(play.spares() == "b");
}

TEST_CASE("a newcomer that takes the address of a failed node takes its place") {
  RulesPlay play(2, 2);
  play.join("ab").join("e").fail("b");
  const NodeId restarted = NodeId::make("host-b", 2, 0);
  play.group.join(restarted, play.settings, 0, {});
  play.again("a");
  CHECK(play.complete());
  CHECK(play.group.placement(restarted).rank == 1);
}

TEST_CASE("many more than max nodes form while a place is kept, and max of them are taken") {
  RulesPlay play(2, 3);
  play.join("abc").join("defg").fail("ac").again("b").join("hij");
  CHECK_FALSE(play.complete());
  CHECK(is_possible(play.group));
  play.join("c", 1);
  CHECK_FALSE(play.complete());
  play.last_call_over();
  CHECK(play.in() == "dbc");
  CHECK(play.spares() == "efghij");
  CHECK(is_possible(play.group));
}
