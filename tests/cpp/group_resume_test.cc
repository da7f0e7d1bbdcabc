// What only the one keeper of a group does: dropping nodes whose connection broke, and putting back
// a complete round that it has forgotten.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "group/limits.h"
#include "group_resume_scene.h"

using namespace rdzv;
using namespace rdzv::test;

TEST_CASE("resume: the first node puts the round back, the others take their places") {
  ResumePlay play;
  CHECK(play.resume('b', 1));
  CHECK(play.in() == "rank 0, b, rank 2");
  CHECK(play.group.state().complete);
  CHECK(play.round() == 7);
  CHECK(play.group.state().world_size == 3);
  CHECK(play.resume('z', 0));
  CHECK(play.resume('a', 2));
  CHECK(play.in() == "z, b, a");
  for (char name : {'a', 'b', 'z'})
    CHECK(play.group.membership_changes(ResumePlay::node(name), 7) == 0);
}

TEST_CASE("resume: said again, it changes nothing but the heartbeat") {
  ResumePlay play;
  CHECK(play.resume('b', 1));
  CHECK(play.resume('b', 1));
  CHECK(play.in() == "rank 0, b, rank 2");
  CHECK_FALSE(play.resume('b', 0));
  CHECK_FALSE(play.resume('b', 1, 7, 4));
  CHECK(play.in() == "rank 0, b, rank 2");
}

TEST_CASE("resume: a rank has one node, and a round one world size") {
  ResumePlay play;
  CHECK(play.resume('b', 1));
  CHECK_FALSE(play.resume('c', 1));
  CHECK_FALSE(play.resume('c', 2, 7, 4));
  CHECK_FALSE(play.resume('c', 2, 6));
  CHECK(play.in() == "rank 0, b, rank 2");
  CHECK(play.group.membership_changes(ResumePlay::node('c'), 6) >= 1);
}

TEST_CASE("resume: ranks that nobody comes for are lost after the time of missed heartbeats") {
  ResumePlay play;
  CHECK(play.resume('b', 1));
  for (int second = 5; second < 15; second += 5) {
    play.group.keep_alive(ResumePlay::node('b'), ResumePlay::at(second));
    CHECK(play.group.expire(ResumePlay::at(second)).empty());
  }
  play.group.keep_alive(ResumePlay::node('b'), ResumePlay::at(15));
  CHECK(play.shown(play.group.expire(ResumePlay::at(15))) == "rank 0, rank 2");
  play.check_possible();
  CHECK(play.in() == "b");
  CHECK(play.lost() == "rank 0, rank 2");
  CHECK(play.group.membership_changes(ResumePlay::node('b'), 7) == 2);
  CHECK_FALSE(play.resume('a', 0));
}

TEST_CASE("resume: who joined before the round was put back waits for the next one") {
  ResumePlay play;
  play.join("xy", 7);
  CHECK(play.round() == 8);
  CHECK(play.group.state().last_call != 0);
  CHECK(play.resume('b', 1));
  CHECK(play.round() == 7);
  CHECK(play.shown(play.group.waiting()) == "x");  // 3 of 4 places are taken
  CHECK(play.shown(play.group.spares()) == "y");
  CHECK_FALSE(play.group.next_deadline() == std::nullopt);
  for (char name : {'z', 'a'}) CHECK(play.resume(name, name == 'z' ? 0 : 2));
  for (char name : {'z', 'b', 'a'})
    play.group.leave(ResumePlay::node(name), true, ResumePlay::at(1));
  play.check_possible();
  CHECK(play.round() == 8);
  CHECK(play.in() == "x, y");
}

TEST_CASE("resume: a node that has joined already can still take its old place") {
  ResumePlay play;
  play.join("b", 7);
  CHECK(play.resume('b', 1));
  CHECK(play.in() == "rank 0, b, rank 2");
  CHECK(play.group.waiting().empty());
}

TEST_CASE("resume: a round that ended here, or an earlier one, is not put back") {
  ResumePlay play;
  play.join("abcd");
  for (char name : {'a', 'b', 'c', 'd'})
    play.group.leave(ResumePlay::node(name), true, ResumePlay::at(0));
  CHECK(play.round() == 2);
  CHECK_FALSE(play.resume('a', 0, 1, 4));
  CHECK(play.resume('a', 0, 2, 4));
  CHECK(play.round() == 2);
}

TEST_CASE("resume: a lost node does not come back into its round") {
  ResumePlay play;
  play.join("abcd");
  play.group.drop(ResumePlay::node('b'), ResumePlay::at(0));
  CHECK_FALSE(play.resume('b', 1, 1, 4));
  CHECK(play.lost() == "b");
}

TEST_CASE("resume: a round that an observed state shows as ended is not put back") {
  ResumePlay other;
  other.join("abcd");
  for (char name : {'a', 'b', 'c', 'd'})
    other.group.leave(ResumePlay::node(name), false, ResumePlay::at(0));
  ResumePlay play;
  const std::string bytes = other.group.encode();
  play.group.observe(bytes, ResumePlay::at(0));
  CHECK_FALSE(play.resume('a', 0, 1, 4));
}

TEST_CASE("resume: in a closed group, participants finish their round") {
  ResumePlay play;
  play.group.close();
  CHECK(play.resume('b', 0, 7, 2));
  CHECK(play.resume('a', 1, 7, 2));
  CHECK(play.group.state().closed);
  for (char name : {'a', 'b'}) play.group.leave(ResumePlay::node(name), false, ResumePlay::at(0));
  play.check_possible();
  CHECK(play.group.state().finished_round == 7);
}

TEST_CASE("resume: what cannot be is refused") {
  ResumePlay play;
  CHECK(play.resume_error('a', 3, 7, 3) == ErrorCode::kInvalidArgument);
  CHECK(play.resume_error('a', 0, 0, 3) == ErrorCode::kInvalidArgument);
  CHECK(play.resume_error('a', 0, rdzv::kAfterRoundMax + 1, 3) == ErrorCode::kInvalidArgument);
  CHECK(play.resume_error('a', 0, 7, 0) == ErrorCode::kInvalidArgument);
  CHECK(play.resume_error('a', 0, 7, 1) == ErrorCode::kInvalidArgument);
  CHECK(play.resume_error('a', 0, 7, 5) == ErrorCode::kInvalidArgument);
  GroupSettings wrong = kSettings;
  wrong.min_nodes = 0;
  CHECK(play.resume_error('a', 0, 7, 3, wrong) == ErrorCode::kInvalidArgument);
  CHECK(play.resume('a', 0));
  GroupSettings other = kSettings;
  other.max_nodes = 3;
  CHECK(play.resume_error('b', 1, 7, 3, other) == ErrorCode::kState);
}

TEST_CASE("resume: a group has room for so many") {
  constexpr auto kMax = static_cast<uint32_t>(rdzv::kGroupNodesMax);
  const GroupSettings settings{1, kMax, 30'000, 5'000, 3};
  ResumePlay play;
  play.group.join(ResumePlay::node('x'), settings, 0, ResumePlay::at(0));
  CHECK(play.resume_error('a', 0, 7, kMax, settings) == ErrorCode::kLimit);
}

TEST_CASE("resume: a later round takes the place of one that only a resume told of") {
  ResumePlay play;
  CHECK(play.resume('s', 1, 5, 4));
  CHECK(play.resume('b', 1, 7, 3));
  CHECK(play.round() == 7);
  CHECK(play.in() == "rank 0, b, rank 2");
  CHECK(play.resume('a', 0, 7, 3));
  CHECK(play.resume('c', 2, 7, 3));
  CHECK(play.in() == "a, b, c");
  CHECK(play.lost() == "");
  for (char name : {'a', 'b', 'c'})
    CHECK(play.group.membership_changes(ResumePlay::node(name), 7) == 0);
  // The one that was cut off is not in it, and has to join again.
  CHECK(play.group.membership_changes(ResumePlay::node('s'), 5) >= 1);
  CHECK_FALSE(play.resume('s', 1, 5, 4));
  play.join("s", 5);
  CHECK(play.shown(play.group.waiting()) == "s");
}

TEST_CASE("resume: it does so whatever has become of the earlier round meanwhile") {
  SUBCASE("all its nodes came") {
    ResumePlay play;
    CHECK(play.resume('s', 0, 5, 2));
    CHECK(play.resume('t', 1, 5, 2));
    CHECK(play.resume('b', 1));
    CHECK(play.in() == "rank 0, b, rank 2");
  }
  SUBCASE("its stand-ins were lost") {
    ResumePlay play;
    CHECK(play.resume('s', 1, 5, 4));
    for (int second = 5; second <= 15; second += 5) {
      play.group.keep_alive(ResumePlay::node('s'), ResumePlay::at(second));
      play.group.expire(ResumePlay::at(second));
    }
    CHECK(play.lost() == "rank 0, rank 2, rank 3");
    CHECK(play.resume('b', 1));
    CHECK(play.lost() == "");
    CHECK(play.in() == "rank 0, b, rank 2");
  }
  SUBCASE("its node left, with success or not, and a later one forms") {
    for (bool failed : {false, true}) {
      ResumePlay play;
      CHECK(play.resume('s', 1, 5, 4));
      play.group.leave(ResumePlay::node('s'), failed, ResumePlay::at(0));
      play.check_possible();
      CHECK(play.resume('b', 1));
      CHECK(play.in() == "rank 0, b, rank 2");
    }
  }
  SUBCASE("the same node says so itself") {
    ResumePlay play;
    CHECK(play.resume('s', 1, 5, 4));
    CHECK(play.resume('s', 0));
    CHECK(play.in() == "s, rank 1, rank 2");
  }
  SUBCASE("twice") {
    ResumePlay play;
    CHECK(play.resume('s', 1, 5, 4));
    CHECK(play.resume('t', 1, 6, 4));
    CHECK(play.resume('b', 1));
    CHECK_FALSE(play.resume('s', 1, 6, 4));
    CHECK(play.in() == "rank 0, b, rank 2");
  }
}

TEST_CASE("resume: who waited for the next round waits on when a later round takes the place") {
  ResumePlay play;
  CHECK(play.resume('s', 1, 5, 4));
  play.join("xy");
  CHECK(play.shown(play.group.spares()) == "x, y");
  CHECK(play.resume('b', 1));
  CHECK(play.shown(play.group.waiting()) == "x");  // 3 of 4 places are taken
  CHECK(play.shown(play.group.spares()) == "y");
  // Also one that was told of the earlier round and has joined since.
  CHECK(play.resume('x', 0));
  CHECK(play.in() == "x, b, rank 2");
  CHECK(play.shown(play.group.waiting()) == "y");
}

TEST_CASE("resume: a later round brings its settings, and who waited with others is not listed") {
  const GroupSettings other{1, 3, 30'000, 5'000, 3};
  ResumePlay play;
  CHECK(play.resume('s', 1, 5, 4));
  play.join("x");
  CHECK(play.resume_error('b', 1, 5, 3, other) == ErrorCode::kState);
  CHECK(play.resume('b', 1, 7, 3, other));
  CHECK(play.in() == "rank 0, b, rank 2");
  CHECK((*play.group.state().settings == other));
  CHECK(play.group.waiting().empty());
  CHECK_FALSE(play.group.placement(ResumePlay::node('x')).role);
  CHECK(play.resume('a', 0, 7, 3, other));
}

TEST_CASE("resume: a round that came about by joins is not replaced by what a node says") {
  ResumePlay play;
  play.join("abcd");
  CHECK_FALSE(play.resume('s', 1, 7, 3));
  CHECK_FALSE(play.resume('a', 0, 7, 3));
  CHECK(play.in() == "a, b, c, d");
  // Nor one that joins formed after a round was put back.
  ResumePlay other;
  CHECK(other.resume('a', 0, 5, 2));
  CHECK(other.resume('b', 1, 5, 2));
  for (char name : {'a', 'b'}) other.group.leave(ResumePlay::node(name), true, ResumePlay::at(0));
  other.join("abcd", 5);
  CHECK(other.round() == 6);
  CHECK_FALSE(other.resume('s', 1, 7, 3));
  CHECK(other.in() == "a, b, c, d");
}

TEST_CASE("resume: a round before one that a join told of is not put back") {
  ResumePlay play;
  play.join("x", 7);
  CHECK_FALSE(play.resume('s', 1, 5, 4));
  CHECK(play.in() == "x");
  CHECK(play.resume('b', 1));
  // Told of after the earlier one was put back, neither does that replace it.
  ResumePlay other;
  CHECK(other.resume('s', 1, 5, 4));
  other.join("x", 7);
  CHECK_FALSE(other.resume('t', 1, 6, 4));
  CHECK(other.resume('b', 1));
  CHECK(other.in() == "rank 0, b, rank 2");
}

TEST_CASE("resume: of one round the first list of members counts") {
  ResumePlay play;
  CHECK(play.resume('b', 1));
  CHECK_FALSE(play.resume('c', 1));
  CHECK_FALSE(play.resume('c', 1, 7, 4));
  CHECK_FALSE(play.resume('b', 0));
  CHECK(play.in() == "rank 0, b, rank 2");
}

TEST_CASE("resume: ranks that have not come cost nothing, however many they are") {
  constexpr auto kMax = static_cast<uint32_t>(rdzv::kGroupNodesMax);
  const GroupSettings settings{1, kMax, 30'000, 5'000, 3};
  Group group;
  CHECK(group.resume(ResumePlay::node('a'), settings, 7, 9, kMax, ResumePlay::at(0)) ==
        Resumed::kTaken);
  CHECK(group.state().roster.size() == kMax);
  CHECK(group.state().roster.listed() == 1);
  CHECK(group.state().roster.expected().ranges() == 2);
  const std::vector<NodeId> all = group.participants();
  CHECK(all.size() == kMax);
  CHECK(all[8] == rdzv::stand_in(8));
  CHECK(all[9] == ResumePlay::node('a'));
  CHECK(all[kMax - 1] == rdzv::stand_in(kMax - 1));
  // Lost together, and so many of them are named.
  for (int second = 5; second < 15; second += 5) {
    group.keep_alive(ResumePlay::node('a'), ResumePlay::at(second));
    CHECK(group.expire(ResumePlay::at(second)).empty());
  }
  group.keep_alive(ResumePlay::node('a'), ResumePlay::at(15));
  CHECK(group.expire(ResumePlay::at(15)).size() == rdzv::kLostNodesMax);
  CHECK(group.lost().size() == rdzv::kLostNodesMax);
  CHECK(group.state().roster.size() == 1);
}

TEST_CASE("resume: ranks come in any order, each once") {
  constexpr uint32_t kRanks = 100;
  const GroupSettings settings{1, kRanks, 30'000, 5'000, 3};
  Group group;
  std::vector<std::string> names;
  for (uint32_t i = 0; i < kRanks; ++i) {
    const uint32_t rank = i * 37 % kRanks;
    const NodeId node = NodeId::make("n" + std::to_string(rank), 1, 0);
    CHECK(group.resume(node, settings, 7, rank, kRanks, ResumePlay::at(0)) == Resumed::kTaken);
    const NodeId other = NodeId::make("other" + std::to_string(rank), 1, 0);
    CHECK(group.resume(other, settings, 7, rank, kRanks, ResumePlay::at(0)) == Resumed::kRefused);
    CHECK(group.participants().size() == kRanks);
    CHECK(group.participants()[rank] == node);
  }
  CHECK(group.state().roster.expected().empty());
  // Nobody is watched for those who came.
  CHECK(group.expire(ResumePlay::at(5)).empty());
}

TEST_CASE("drop: a participant is lost, others are gone, one that is done stays so") {
  ResumePlay play;
  play.join("ab");
  play.group.drop(ResumePlay::node('b'), ResumePlay::at(0));
  play.check_possible();
  CHECK(play.in() == "a");
  CHECK(play.group.state().last_call == 0);
  play.join("bcd").join("wx");
  CHECK(play.group.state().complete);
  play.group.drop(ResumePlay::node('w'), ResumePlay::at(0));
  CHECK(play.shown(play.group.spares()) == "x");
  CHECK(play.lost() == "");
  play.group.leave(ResumePlay::node('a'), false, ResumePlay::at(0));
  play.group.drop(ResumePlay::node('a'), ResumePlay::at(0));
  CHECK(play.lost() == "");
  play.group.drop(ResumePlay::node('c'), ResumePlay::at(0));
  play.check_possible();
  CHECK(play.lost() == "c");
  CHECK(play.shown(play.group.waiting()) == "x");
  play.group.drop(ResumePlay::node('?'), ResumePlay::at(0));
  CHECK(play.group.membership_changes(ResumePlay::node('b'), 1) == 2);
}
