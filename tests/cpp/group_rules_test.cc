// The rules that need no time: joining, completing, leaving, ending rounds, closing.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "group/limits.h"
#include "group_rules_scene.h"

using namespace rdzv;
using namespace rdzv::test;

TEST_CASE("a fresh group forms round 1 and knows no settings") {
  RulesPlay play(1, 1);
  CHECK(play.round() == 1);
  CHECK_FALSE(play.complete());
  CHECK_FALSE(play.group.state().settings);
  CHECK(play.group.state().finished_round == 0);
  CHECK_FALSE(play.role('a'));
  CHECK_FALSE(play.group.next_deadline());
}

TEST_CASE("nodes that join form the round") {
  RulesPlay play(2, 4);
  play.join("a");
  CHECK(play.in() == "a");
  CHECK(play.role('a') == Role::kForming);
  CHECK(play.rank('a') == -1);
  CHECK_FALSE(play.last_call());
  CHECK(play.group.state().world_size == 0);
}

TEST_CASE("min nodes start the last call, max nodes complete the round at once") {
  RulesPlay play(2, 3);
  play.join("ab");
  CHECK(play.last_call());
  CHECK_FALSE(play.complete());
  play.join("c");
  CHECK(play.complete());
  CHECK_FALSE(play.last_call());
  CHECK(play.group.state().world_size == 3);
}

TEST_CASE("with min equal to max there is no last call") {
  RulesPlay play(2, 2);
  play.join("a");
  CHECK_FALSE(play.last_call());
  play.join("b");
  CHECK(play.complete());
}

TEST_CASE("a single node is complete when it joins") {
  RulesPlay play(1, 1);
  play.join("a");
  CHECK(play.complete());
  CHECK(play.rank('a') == 0);
}

TEST_CASE("ranks follow the natural order, not the order of joining") {
  Group group;
  const GroupSettings settings{3, 3, 30'000, 5'000, 3};
  for (const char* addr : {"host10", "host9", "host1"}) {
    group.join(NodeId::make(addr, 1, 0), settings, 0, {});
  }
  CHECK(group.placement(NodeId::make("host1", 1, 0)).rank == 0);
  CHECK(group.placement(NodeId::make("host9", 1, 0)).rank == 1);
  CHECK(group.placement(NodeId::make("host10", 1, 0)).rank == 2);
}

TEST_CASE("to join again changes no byte") {
  RulesPlay play(2, 3);
  play.join("abc").join("d").join("e");
  const std::string before = play.group.encode();
  play.join("abcde");
  CHECK(play.group.encode() == before);

  RulesPlay forming(2, 3);
  forming.join("ab");
  const std::string formed = forming.group.encode();
  CHECK(forming.join("ab").group.encode() == formed);
}

TEST_CASE("a last call that falls below min is off, and a later one is a new one") {
  RulesPlay play(2, 3);
  play.join("ab");
  const uint64_t first = play.group.state().last_call;
  play.leave("a");
  CHECK_FALSE(play.last_call());
  play.join("c");
  CHECK(play.group.state().last_call > first);
}

TEST_CASE("other settings are refused, and the message says which field differs") {
  RulesPlay play(2, 3);
  play.join("a");
  CHECK(play.join_error('b', {2, 4, 30'000, 5'000, 3}) == ErrorCode::kState);
  CHECK(play.message.find("differ in max_nodes;") != std::string::npos);
  CHECK(play.message.find("max_nodes=3") != std::string::npos);
  CHECK(play.message.find("max_nodes=4") != std::string::npos);
  CHECK(play.join_error('b', {2, 3, 31'000, 5'001, 3}) == ErrorCode::kState);
  CHECK(play.message.find("last_call_timeout, keep_alive_interval") != std::string::npos);
}

TEST_CASE("an empty group takes the settings of the next node") {
  RulesPlay play(2, 3);
  play.join("a").leave("a");
  play.settings.max_nodes = 5;
  play.join("b");
  CHECK(play.group.state().settings->max_nodes == 5);
}

TEST_CASE("wrong arguments are refused and change nothing") {
  RulesPlay play(2, 3);
  play.join("a");
  CHECK(play.join_error('b', {0, 3, 1, 1, 1}) == ErrorCode::kInvalidArgument);
  CHECK(play.join_error('b', play.settings, rdzv::kAfterRoundMax + 1) ==
        ErrorCode::kInvalidArgument);
  CHECK_THROWS_AS(play.group.join(NodeId{}, play.settings, 0, {}), rdzv::Error);
}

TEST_CASE("a node that comes to a complete round waits, or is a spare") {
  RulesPlay play(2, 3);
  play.join("ab").last_call_over();
  REQUIRE(play.complete());
  CHECK(play.group.state().world_size == 2);
  play.join("c");
  CHECK(play.role('c') == Role::kWaiting);
  play.join("e").join("d");
  CHECK(play.spares() == "ed");
  CHECK(play.rank('e') == -1);
}

TEST_CASE("a participant that repeats its join after a lost reply keeps its rank") {
  RulesPlay play(2, 2);
  play.join("ab").join("a", 0);
  CHECK(play.role('a') == Role::kActive);
  CHECK(play.rank('a') == 0);
}

TEST_CASE("a participant that wants a later round moves to the wait list") {
  RulesPlay play(3, 3);
  play.join("abc").join("a", 1);
  CHECK(play.role('a') == Role::kWaiting);
  CHECK(play.in() == "bc");
  CHECK(play.rank('b') == 1);
  CHECK(play.group.state().world_size == 3);
}

TEST_CASE("when all participants want a later round, it forms and completes") {
  RulesPlay play(2, 2);
  play.join("ab").join("a", 1);
  CHECK(play.round() == 1);
  play.join("b", 1);
  CHECK(play.round() == 2);
  CHECK(play.complete());
  CHECK(play.in() == "ab");
  CHECK(play.group.state().finished_round == 0);
}

TEST_CASE("spares take part in the next round in order of joining, the rest stays") {
  RulesPlay play(2, 2);
  play.join("ab").join("e").join("d").join("c");
  play.join("a", 1);
  CHECK(play.waiting() == "a");
  CHECK(play.spares() == "edc");
  play.lose("b");
  CHECK(play.round() == 2);
  CHECK(play.complete());
  CHECK(play.in() == "ae");
  CHECK(play.spares() == "dc");
}

TEST_CASE("a node that goes from a forming round is gone") {
  RulesPlay play(2, 4);
  play.join("ab").leave("a");
  CHECK_FALSE(play.role('a'));
  CHECK(play.lost().empty());
}

TEST_CASE("a node that fails while the round forms is remembered until the round completes") {
  RulesPlay play(2, 2);
  play.join("a").fail("a");
  CHECK_FALSE(play.role('a'));
  CHECK(play.lost() == "a");
  CHECK(play.group.state().lost.begin()->second.reason == rdzv::LossReason::kFailed);
  play.join("bc");
  CHECK(play.lost().empty());
}

TEST_CASE("a participant that leaves is done and keeps its rank") {
  RulesPlay play(2, 2);
  play.join("ab").leave("a");
  CHECK(play.role('a') == Role::kDone);
  CHECK(play.rank('a') == 0);
  CHECK(play.in() == "b");
  const std::string before = play.group.encode();
  play.leave("a").fail("a");
  play.group.keep_alive(RulesPlay::node('a'), {});
  CHECK(play.group.encode() == before);
}

TEST_CASE("a participant that is done gives its place to no spare") {
  RulesPlay play(2, 2);
  play.join("ab").join("c").leave("a");
  CHECK(play.role('c') == Role::kSpare);
  CHECK(play.changes('b', 1) == 0);
}

TEST_CASE("a participant that is lost gives its place to the first spare") {
  RulesPlay play(2, 3);
  play.join("abc").join("e").join("d").lose("b");
  CHECK(play.lost() == "b");
  CHECK(play.waiting() == "e");
  CHECK(play.spares() == "d");
  CHECK(play.in() == "ac");
  CHECK(play.rank('c') == 2);
}

TEST_CASE("a place that becomes free on the wait list goes to the first spare") {
  RulesPlay play(2, 3);
  play.join("ab").last_call_over().join("c").join("d").leave("c");
  CHECK(play.waiting() == "d");
  CHECK(play.spares().empty());
}

TEST_CASE("leaving from the wait list or the spares is no loss, failed or not") {
  RulesPlay play(1, 2);
  play.join("a").last_call_over().join("bcd").fail("b").leave("d");
  CHECK(play.lost().empty());
  CHECK(play.waiting() == "c");
}

TEST_CASE("an unknown node that leaves or is alive changes nothing") {
  RulesPlay play(2, 3);
  play.join("ab");
  const std::string before = play.group.encode();
  play.leave("x").fail("x");
  play.group.keep_alive(RulesPlay::node('x'), {});
  CHECK(play.group.encode() == before);
}

TEST_CASE("a round that all leave as done is finished, and who waited is dismissed") {
  RulesPlay play(2, 2);
  play.join("ab").join("c").leave("ab");
  CHECK(play.group.state().finished_round == 1);
  CHECK(play.round() == 2);
  CHECK_FALSE(play.complete());
  CHECK_FALSE(play.role('c'));
  CHECK(play.group.state().roster.size() == 0);
}

TEST_CASE("a round in which a node was lost is not finished: the next one forms") {
  RulesPlay play(2, 3);
  play.join("abc").join("d").fail("a").leave("bc");
  CHECK(play.group.state().finished_round == 0);
  CHECK(play.round() == 2);
  CHECK(play.in() == "d");
  CHECK(play.lost() == "a");
}

TEST_CASE("a round that a participant left for a later one is not finished") {
  RulesPlay play(2, 2);
  play.join("ab").join("a", 1).leave("b");
  CHECK(play.group.state().finished_round == 0);
  CHECK(play.round() == 2);
  CHECK(play.in() == "a");
}

TEST_CASE("a done participant that joins again waits for the next round") {
  RulesPlay play(2, 2);
  play.join("ab").join("c").leave("a").join("a", 1);
  CHECK(play.role('a') == Role::kWaiting);
  CHECK(play.role('c') == Role::kSpare);
  play.leave("b");
  CHECK(play.group.state().finished_round == 0);
  CHECK(play.in() == "ac");
  CHECK(play.complete());
}

TEST_CASE("the next round goes on from the last call when it has min nodes") {
  RulesPlay play(1, 3);
  play.join("abc").join("a", 1).fail("bc");
  CHECK(play.round() == 2);
  CHECK_FALSE(play.complete());
  CHECK(play.last_call());
}

TEST_CASE("a round a node has taken part in is not given out again") {
  RulesPlay play(2, 2);
  play.join("a", 7);
  CHECK(play.round() == 8);
  play.join("b", 3);
  CHECK(play.round() == 8);
  CHECK(play.complete());
  play.join("c", 20).join("a", 8).join("b", 8);
  CHECK(play.round() == 21);
}

TEST_CASE("the highest round that may be named leads to states that decode") {
  RulesPlay play(1, 1);
  play.join("a", rdzv::kAfterRoundMax).leave("a").join("a", rdzv::kAfterRoundMax);
  rdzv::GroupState state;
  CHECK_FALSE(rdzv::decode_state(play.group.encode(), state));
}

TEST_CASE("membership changes count those who wait and those who were lost") {
  RulesPlay play(2, 4);
  play.join("abc").last_call_over();
  CHECK(play.changes('a', 1) == 0);
  play.join("d");
  CHECK(play.changes('a', 1) == 1);
  play.fail("c");
  CHECK(play.changes('a', 1) == 2);
}

TEST_CASE("a node that is no participant of that round sees at least one change") {
  RulesPlay play(2, 2);
  play.join("ab");
  CHECK(play.changes('x', 1) == 1);
  CHECK(play.changes('a', 0) == 1);
  CHECK(play.changes('a', 2) == 1);
  play.leave("a");
  CHECK(play.changes('a', 1) == 1);
}

TEST_CASE("a closed group takes nobody and dismisses who has no rank") {
  RulesPlay play(2, 3);
  play.join("ab");
  play.group.close();
  CHECK(play.group.state().closed);
  CHECK_FALSE(play.role('a'));
  CHECK_FALSE(play.last_call());
  CHECK(play.join_error('a', play.settings) == ErrorCode::kRunClosed);
  CHECK(play.message.find("host-a (pid 1)") != std::string::npos);
}

TEST_CASE("the participants of a complete round finish it after the group was closed") {
  RulesPlay play(2, 2);
  play.join("ab").join("c");
  play.group.close();
  CHECK_FALSE(play.role('c'));
  CHECK(play.rank('b') == 1);
  play.leave("a").fail("b");
  CHECK_FALSE(play.complete());
  CHECK(play.round() == 2);
  const std::string before = play.group.encode();
  play.group.close();
  CHECK(play.group.encode() == before);
}

TEST_CASE("a full group refuses another node but not one it has") {
  Group group;
  const GroupSettings settings{1, 1, 30'000, 5'000, 3};
  auto node = [](size_t i) { return NodeId::make("h", static_cast<int64_t>(i), 0); };
  for (size_t i = 0; i < rdzv::kGroupNodesMax; ++i) group.join(node(i), settings, 0, {});
  CHECK_THROWS_AS(group.join(node(rdzv::kGroupNodesMax), settings, 0, {}), rdzv::Error);
  CHECK_NOTHROW(group.join(node(5), settings, 0, {}));
  const std::string bytes = group.encode();
  CHECK(bytes.size() <= rdzv::kGroupBytesMax);
  Group other;
  other.observe(bytes, {});
  CHECK(other.encode() == bytes);
}

TEST_CASE(
    "at most so many lost nodes are remembered, and a round they were lost in is not finished") {
  Group group;
  const GroupSettings settings{2'000, 2'000, 30'000, 5'000, 3};
  auto node = [](int64_t i) { return NodeId::make("h", i, 0); };
  for (int64_t i = 0; i < 2'000; ++i) group.join(node(i), settings, 0, {});
  for (int64_t i = 0; i < 2'000; ++i) group.leave(node(i), true, {});
  CHECK(group.state().lost.size() == rdzv::kLostNodesMax);
  CHECK(group.state().finished_round == 0);
  CHECK(group.state().round == 2);
}
