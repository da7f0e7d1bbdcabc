// Which nodes a round takes and which ranks they get: by the policy of the settings, and over rounds.
#include <doctest/doctest.h>

#include <string>

#include "group_rules_scene.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

struct RanksPlay : RulesPlay {
  RanksPlay(uint32_t min, uint32_t max, RankBy rank_by = RankBy::kAddress, uint32_t segment = 1)
      : RulesPlay(min, max) {
    settings.rank_by = rank_by;
    settings.segment = segment;
  }
  RanksPlay& at(const std::string& names, const std::string& key) {
    for (char name : names) facts[name].topology = key;
    return *this;
  }
  RanksPlay& given(char name, uint32_t rank) {
    facts[name].rank = rank;
    return *this;
  }
  // The nodes of the complete round by rank; what the store would hold is a possible state.
  std::string by_rank() {
    GroupState state;
    const auto problem = decode_state(group.encode(), state);
    CHECK_MESSAGE(!problem, problem->message());
    return complete() ? in() : "(forming)";
  }
};

// Another process of the same machine.
NodeId restarted(char name) {
  return NodeId::make(std::string("host-") + name, 2, 0);
}

}  // namespace

TEST_CASE("who replaces a lost node gets its rank, and the others keep theirs") {
  RanksPlay play(2, 3);
  play.join("abd").lose("a");
  play.join("c").again("bd");
  CHECK(play.by_rank() == "cbd");
}

TEST_CASE("a node that comes back after it was lost has its rank again, whatever the order") {
  RanksPlay play(3, 4);
  play.join("bcde").lose("bd");
  play.join("d").join("a").again("ec");
  // a takes what nobody keeps, which is b's.
  CHECK(play.by_rank() == "acde");
}

TEST_CASE("a restarted agent takes the rank of the process that was lost at its address") {
  RanksPlay play(3, 3);
  play.join("abc").lose("ab");
  play.group.join(restarted('b'), play.settings, 0, {});
  play.join("x").again("c");
  CHECK(play.group.placement(restarted('b')).rank == 1);
  CHECK(play.rank('x') == 0);
  CHECK(play.rank('c') == 2);
}

TEST_CASE("when the world shrinks, ranks beyond it move to free ones and the rest stays") {
  RanksPlay play(2, 5);
  play.join("abcde").lose("bc");
  play.again("ade").last_call_over();
  CHECK(play.by_rank() == "ade");
  // d had 3 and e had 4: of three ranks, 1 and 2 are free.
  CHECK(play.rank('a') == 0);
}

TEST_CASE("a rank that stays in the smaller world stays") {
  RanksPlay play(2, 4);
  play.join("abcd").lose("a");
  play.again("bcd").last_call_over();
  CHECK(play.by_rank() == "dbc");
}

TEST_CASE("ranks survive a round that begins to form again and again") {
  RanksPlay play(2, 3);
  play.join("abd").lose("a").again("bd");
  play.leave("d").join("c").join("d");
  // d left the forming round of its own will: it is a newcomer, as c is.
  CHECK(play.by_rank() == "cbd");
}

TEST_CASE("a node that was done and comes back has its rank") {
  RanksPlay play(2, 2);
  play.join("bc").leave("b").fail("c");
  CHECK(play.round() == 2);
  RanksPlay other(2, 2);
  other.join("bc").leave("b").join("b", 1).again("c");
  CHECK(other.by_rank() == "bc");
  RanksPlay third(2, 2);
  third.join("cd").leave("d").join("d", 1).lose("c");
  third.join("e");
  CHECK(third.by_rank() == "ed");
}

TEST_CASE("without sticky ranks each round is ranked anew") {
  RanksPlay play(2, 3);
  play.settings.sticky_ranks = false;
  play.join("abd").lose("a").join("c").again("bd");
  CHECK(play.by_rank() == "bcd");
}

TEST_CASE("with rank_by join, ranks follow the order of joining") {
  RanksPlay play(3, 3, RankBy::kJoin);
  play.join("cab");
  CHECK(play.by_rank() == "cab");
  play.lose("a").join("e").again("bc");
  CHECK(play.by_rank() == "ceb");
}

TEST_CASE("a given rank is the node's rank") {
  RanksPlay play(3, 3, RankBy::kGiven);
  play.given('a', 2).given('b', 0).given('c', 1).join("abc");
  CHECK(play.by_rank() == "bca");
}

TEST_CASE("a given rank twice, none, and one beyond the world are refused") {
  RanksPlay play(2, 3, RankBy::kGiven);
  play.given('a', 1).given('b', 1).given('c', 3).join("a");
  CHECK(play.join_error('b', play.settings) == ErrorCode::kState);
  CHECK(play.message.find("the given rank 1 is that of node host-a (pid 1)") != std::string::npos);
  CHECK(play.join_error('c', play.settings) == ErrorCode::kInvalidArgument);
  CHECK(play.message.find("but the run has at most 3 nodes, and ranks count from 0") !=
        std::string::npos);
  CHECK(play.join_error('d', play.settings) == ErrorCode::kInvalidArgument);
  CHECK(play.message.find("but this node was not given a rank") != std::string::npos);
}

TEST_CASE("a given rank is free again when its node has gone") {
  RanksPlay play(2, 2, RankBy::kGiven);
  play.given('a', 0).given('b', 1).given('c', 1).join("ab").lose("b").join("c").again("a");
  CHECK(play.by_rank() == "ac");
}

TEST_CASE("of fewer nodes than the given ranks, those beyond the world move to free ones") {
  RanksPlay play(2, 4, RankBy::kGiven);
  play.given('a', 3).given('b', 0).given('c', 2).join("abc").last_call_over();
  CHECK(play.by_rank() == "bac");
}

TEST_CASE("nodes of one topology key are neighbours, keys in natural order part by part") {
  RanksPlay play(6, 6, RankBy::kTopology);
  play.at("ae", "switch10/rack1").at("cd", "switch2/rack11").at("bf", "switch2/rack9");
  play.join("abcdef");
  CHECK(play.by_rank() == "bfcdae");
}

TEST_CASE("topology keys are compared part by part") {
  CHECK(compare_topology("a/b", "a-1/b") < 0);
  CHECK(compare_topology("a", "a/b") < 0);
  CHECK(compare_topology("s2/r1", "s10/r1") < 0);
  CHECK(compare_topology("a1/b", "a01/a") > 0);
  CHECK(compare_topology("a", "a/") != 0);
  CHECK(compare_topology("s/r", "s/r") == 0);
}

TEST_CASE("a node without a topology key is refused") {
  RanksPlay play(2, 2, RankBy::kTopology);
  CHECK(play.join_error('a', play.settings) == ErrorCode::kInvalidArgument);
  CHECK(play.message.find("but this node does not say where it is") != std::string::npos);
  play.at("a", std::string(128, 'x'));
  CHECK(play.join_error('a', play.settings) == ErrorCode::kInvalidArgument);
  play.at("a", "x\n");
  CHECK(play.join_error('a', play.settings) == ErrorCode::kInvalidArgument);
}

TEST_CASE("with a topology, who replaces a node of its key takes its rank") {
  RanksPlay play(5, 6, RankBy::kTopology);
  play.at("abg", "r1").at("cdh", "r2").at("ef", "r3").join("abcdef");
  CHECK(play.by_rank() == "abcdef");
  play.lose("ad").join("h").join("g").again("bcef");
  CHECK(play.by_rank() == "gbchef");
}

TEST_CASE("with a topology, ranks move only where nodes of a key would be no neighbours") {
  RanksPlay play(4, 5, RankBy::kTopology);
  play.at("ab", "r1").at("cde", "r2").at("x", "r0").join("abcde");
  play.lose("a").join("x").again("bcde");
  CHECK(play.by_rank() == "xbcde");  // r0 stands alone in the free place
  play.at("y", "r1").lose("d").join("y").again("xbce");
  // r1's second node would stand in the middle of r2: all are ranked anew.
  CHECK(play.by_rank() == "xbyce");
}

TEST_CASE("a round takes whole segments, and who is in none is a spare") {
  RanksPlay play(2, 6, RankBy::kTopology, 2);
  play.at("abc", "r1").at("de", "r2").at("f", "r3").join("abcdef");
  CHECK_FALSE(play.complete());
  play.last_call_over();
  CHECK(play.by_rank() == "abde");
  CHECK(play.spares() == "cf");
}

TEST_CASE("min nodes are counted in whole segments") {
  RanksPlay play(4, 4, RankBy::kTopology, 2);
  play.at("ax", "r1").at("by", "r2").at("c", "r3").join("abcx");
  CHECK_FALSE(play.complete());
  play.join("y");
  CHECK(play.by_rank() == "axby");
  CHECK(play.spares() == "c");
}

TEST_CASE("a segment that has lost a node goes as a whole until another one comes") {
  RanksPlay play(2, 6, RankBy::kTopology, 2);
  play.at("abn", "r1").at("cd", "r2").at("ef", "r3").join("abcdef");
  play.lose("b").again("acdef");
  CHECK_FALSE(play.complete());
  play.last_call_over();
  // r2 keeps its ranks, r3's are beyond the world and move to the place of r1.
  CHECK(play.by_rank() == "efcd");
  CHECK(play.spares() == "a");
  CHECK(play.changes('c', 2) == 0);
  play.join("n");
  CHECK(play.waiting() == "an");
  CHECK(play.changes('c', 2) == 2);
  play.again("cdef");
  CHECK(play.by_rank() == "efcdan");
}

TEST_CASE("spares that make no whole segment disturb nobody") {
  RanksPlay play(2, 8, RankBy::kTopology, 2);
  play.at("ab", "r1").at("c", "r2").at("d", "r3").join("ab").last_call_over();
  play.join("cd");
  CHECK(play.spares() == "cd");
  CHECK(play.changes('a', 1) == 0);
}

TEST_CASE("of more segments than there is room for, those with former members are taken") {
  RanksPlay play(4, 4, RankBy::kTopology, 2);
  play.at("ab", "r3").at("cd", "r2").at("ef", "r1").join("abcd");
  play.join("ef").lose("a").join("a").again("bcd");
  CHECK(play.by_rank() == "cdab");
  CHECK(play.spares() == "ef");
}

TEST_CASE("segments without a topology make the world a multiple") {
  RanksPlay play(2, 6, RankBy::kAddress, 2);
  play.join("abcde").last_call_over();
  CHECK(play.by_rank() == "abcd");
  CHECK(play.spares() == "e");
}

TEST_CASE("settings whose bounds are no multiples of the segment are refused") {
  RanksPlay play(2, 5, RankBy::kAddress, 2);
  CHECK(play.join_error('a', play.settings) == ErrorCode::kInvalidArgument);
  CHECK(play.message.find("not both multiples of segment (2)") != std::string::npos);
}

TEST_CASE("other rules are refused, and the message names them") {
  RanksPlay play(2, 4);
  play.join("a");
  GroupSettings other = play.settings;
  other.rank_by = RankBy::kJoin;
  other.sticky_ranks = false;
  other.segment = 2;
  CHECK(play.join_error('b', other) == ErrorCode::kState);
  CHECK(play.message.find("they differ in rank_by, sticky_ranks, segment;") != std::string::npos);
  CHECK(play.message.find("rank_by=join, sticky_ranks=false, segment=2") != std::string::npos);
}

TEST_CASE("facts and ranks of the last round are in the state") {
  RanksPlay play(2, 4, RankBy::kTopology);
  play.at("abe", "r1").at("cd", "r2").join("abcd").join("e").lose("a").again("b");
  const std::string bytes = play.group.encode();
  Group read;
  read.observe(bytes, {});
  CHECK(read.encode() == bytes);
  for (char name : {'c', 'd'})
    read.join(RulesPlay::node(name), play.settings, 1, {}, play.facts[name]);
  for (char name : {'b', 'c', 'd', 'e'})
    CHECK(read.placement(RulesPlay::node(name)).role == Role::kActive);
  CHECK(read.placement(RulesPlay::node('d')).rank == 3);
}

TEST_CASE("facts that the settings do not use are not kept") {
  RanksPlay play(2, 4);
  play.at("a", "r1").given('b', 7).join("ab");
  CHECK(play.group.state().roster.find(RulesPlay::node('a'))->facts == NodeFacts());
  CHECK(play.group.state().roster.find(RulesPlay::node('b'))->facts == NodeFacts());
}

TEST_CASE("a server that has restarted knows ranks and facts by the nodes that resume") {
  RanksPlay play(2, 4, RankBy::kTopology);
  play.at("a", "r1").at("bcd", "r2");
  for (uint32_t rank : {2, 0}) {
    const char name = rank == 0 ? 'd' : 'a';
    play.group.resume(RulesPlay::node(name), play.settings, 7, rank, 3, {}, play.facts[name]);
  }
  play.group.join(RulesPlay::node('c'), play.settings, 0, {}, play.facts['c']);
  play.group.expire(rdzv::Instant(std::chrono::seconds(0)));
  for (int second : {5, 10, 15, 20}) {
    for (char name : {'a', 'd', 'c'})
      play.group.keep_alive(RulesPlay::node(name), rdzv::Instant(std::chrono::seconds(second)));
    play.group.expire(rdzv::Instant(std::chrono::seconds(second)));
  }
  CHECK(play.lost().size() == 1);  // the stand-in of rank 1
  for (char name : {'a', 'd'})
    play.group.join(RulesPlay::node(name), play.settings, 7, {}, play.facts[name]);
  play.last_call_over();
  CHECK(play.by_rank() == "dca");
}
