// Nodes that give up for good, and the run that fails because of them.
#include <doctest/doctest.h>

#include <string>

#include "base/error.h"
#include "group/codec.h"
#include "group/group.h"

namespace {

using rdzv::Ending;
using rdzv::Group;
using rdzv::GroupSettings;
using rdzv::NodeId;
using rdzv::Role;

NodeId node(char name) {
  return NodeId{std::string(1, name), 1, 0};
}

rdzv::Instant at(int seconds) {
  return rdzv::Instant(std::chrono::seconds(seconds));
}

GroupSettings settings(uint32_t min, uint32_t max) {
  GroupSettings made;
  made.min_nodes = min;
  made.max_nodes = max;
  return made;
}

Group round_of(const char* names, uint32_t min, uint32_t max) {
  Group group;
  for (const char* name = names; *name != 0; ++name)
    group.join(node(*name), settings(min, max), 0, at(0));
  if (!group.state().complete) {
    for (const char* name = names; *name != 0; ++name) group.keep_alive(node(*name), at(30));
    group.expire(at(30));
  }
  REQUIRE(group.state().complete);
  return group;
}

bool is_failed_for(Group& group, char name, uint32_t min, uint32_t max) {
  try {
    group.join(node(name), settings(min, max), 1, at(40));
  } catch (const rdzv::Error& error) {
    CHECK(error.code() == rdzv::ErrorCode::kRunFailed);
    CHECK(error.message().find(group.cause_text()) != std::string::npos);
    return true;
  }
  return false;
}

const Ending kEnding{3, 1'764'406'800'000, "no such file"};

}  // namespace

TEST_CASE("a round that has lost too many because they gave up fails, and says who was first") {
  Group group = round_of("ab", 2, 2);
  group.give_up(node('b'), kEnding, at(40));
  group.give_up(node('a'), Ending{9, 0, "later"}, at(41));
  CHECK(group.state().failed_round == 1);
  CHECK(group.cause_text() ==
        "node b (pid 1) gave up at 2025-11-29 09:00:00 UTC: exit code 3, its last line: "
        "'no such file'");
}

TEST_CASE("who took part in a run that failed is sent away; who comes new begins anew") {
  Group group = round_of("ab", 2, 2);
  group.give_up(node('b'), kEnding, at(40));
  CHECK(is_failed_for(group, 'a', 2, 2));
  group.leave(node('a'), false, at(41));
  group.join(node('c'), settings(2, 2), 0, at(42));
  CHECK(group.placement(node('c')).role == Role::kForming);
  group.join(node('d'), settings(2, 2), 0, at(42));
  CHECK(group.state().complete);
  CHECK(group.state().round == 2);
  CHECK(group.state().failed_round == 0);
  CHECK(group.cause_text().empty());
}

TEST_CASE("a run goes on while enough are left, with those that were lost and may come back") {
  SUBCASE("enough are left") {
    Group group = round_of("abc", 2, 3);
    group.give_up(node('c'), kEnding, at(40));
    CHECK_FALSE(is_failed_for(group, 'a', 2, 3));
    CHECK_FALSE(group.cause_text().empty());
  }
  SUBCASE("one was lost, who may come back") {
    Group group = round_of("abc", 2, 3);
    group.drop(node('b'), at(40));
    group.give_up(node('c'), kEnding, at(40));
    CHECK_FALSE(is_failed_for(group, 'a', 2, 3));
  }
  SUBCASE("a spare has taken the place") {
    Group group = round_of("ab", 2, 2);
    group.join(node('s'), settings(2, 2), 0, at(40));
    group.give_up(node('b'), kEnding, at(41));
    CHECK_FALSE(is_failed_for(group, 'a', 2, 2));
    CHECK(group.state().complete);
    CHECK(group.placement(node('s')).role == Role::kActive);
  }
  SUBCASE("a loss alone fails nothing") {
    Group group = round_of("ab", 2, 2);
    group.drop(node('b'), at(40));
    CHECK_FALSE(is_failed_for(group, 'a', 2, 2));
  }
  SUBCASE("nor does a failure that may be followed by another start") {
    Group group = round_of("ab", 2, 2);
    group.leave(node('b'), true, at(40));
    CHECK_FALSE(is_failed_for(group, 'a', 2, 2));
  }
}

TEST_CASE("who waits for the next round of a run that fails is dismissed") {
  Group group = round_of("abc", 3, 4);
  group.join(node('w'), settings(3, 4), 0, at(40));
  REQUIRE(group.placement(node('w')).role == Role::kWaiting);
  group.give_up(node('b'), kEnding, at(41));
  CHECK(group.state().failed_round == 0);
  group.give_up(node('c'), kEnding, at(41));
  CHECK(group.state().failed_round == 1);
  CHECK_FALSE(group.placement(node('w')).role);
  CHECK(group.placement(node('a')).role == Role::kActive);
}

TEST_CASE("nodes that form the next round after a loss are dismissed when one of them gives up") {
  Group group = round_of("abc", 3, 3);
  group.give_up(node('c'), Ending{}, at(40));  // too few: a and b are still active
  CHECK(group.state().failed_round == 1);
  Group lost = round_of("abc", 2, 3);
  lost.drop(node('c'), at(40));
  lost.drop(node('b'), at(40));
  lost.join(node('a'), settings(2, 3), 1, at(41));
  REQUIRE(lost.placement(node('a')).role == Role::kForming);
  lost.join(node('b'), settings(2, 3), 1, at(41));
  lost.give_up(node('b'), kEnding, at(42));
  CHECK(lost.state().failed_round == 0);  // c and b's loss: c may come back
}

TEST_CASE("the root cause is part of the state, whatever bytes a last line has") {
  Group group = round_of("ab", 2, 2);
  group.give_up(node('b'), Ending{-1, 5, std::string("\0\xFF\n", 3) + std::string(1'000, 'x')},
                at(40));
  const std::string bytes = group.encode();
  Group other;
  other.observe(bytes, at(0));
  CHECK(other.encode() == bytes);
  CHECK(other.cause_text() == group.cause_text());
  CHECK(other.state().cause->ending.last_line.size() == 512);
  CHECK(other.gave_up() == 1);
  for (size_t size = 0; size < bytes.size(); ++size) {
    rdzv::GroupState into;
    CHECK(rdzv::decode_state(std::string_view(bytes).substr(0, size), into));
  }
}

TEST_CASE("whoever says not to restart it ends the run for all, and they are told why") {
  Group group = round_of("abc", 2, 3);
  group.close("the disk is full", 0, true);
  CHECK(group.has_failed());
  CHECK(group.failure() == "the disk is full");
  CHECK(group.state().closed);
  CHECK_THROWS_WITH_AS(group.join(node('d'), settings(2, 3), 0, at(40)),
                       "join of node d (pid 1): the run has failed for good and is not to be "
                       "restarted: 'the disk is full'; use another run id for a new job",
                       rdzv::Error);
  Group read;
  read.observe(group.encode(), at(40));
  CHECK(read.has_failed());
  CHECK(read.failure() == "the disk is full");
}

TEST_CASE("an ordinary close is no verdict, and does not end one") {
  Group group = round_of("ab", 1, 2);
  group.close("enough");
  CHECK_FALSE(group.has_failed());
  CHECK(group.failure() == "");
  group.close("the data is broken", 0, true);
  CHECK(group.failure() == "the data is broken");
  group.close("something else");
  group.close("another one's reason", 0, true);
  CHECK(group.failure() == "the data is broken");
  Group silent = round_of("ab", 1, 2);
  silent.close("", 0, true);
  silent.close("not the reason");
  CHECK(silent.failure() == "");
}

TEST_CASE("a node that gives up may say not to restart the run, however many are left") {
  Group group = round_of("abc", 1, 3);
  group.give_up(node('b'), kEnding, at(40), true);
  CHECK(group.has_failed());
  CHECK(group.failure() == group.cause_text());
  CHECK(group.failure().find("exit code 3") != std::string::npos);
  CHECK(is_failed_for(group, 'a', 1, 3));
  // Who is not listed has nothing to say: its start of the job may be an earlier one.
  Group other = round_of("abc", 1, 3);
  other.give_up(node('x'), kEnding, at(40), true);
  CHECK_FALSE(other.state().closed);
}

TEST_CASE("a later attempt and time open a run that was not to be restarted") {
  Group group = round_of("ab", 1, 2);
  group.close("broken", 1'000, true);
  rdzv::NodeFacts later;
  later.attempt = 1;
  group.join(node('c'), settings(1, 2), 0, at(40), later);
  CHECK_FALSE(group.has_failed());
  Group old = round_of("a", 1, 1);
  old.close("broken", 1'000, true);
  old.leave(node('a'), false, at(40));
  CHECK(old.forget_close(2'000, std::chrono::seconds(1)));
  CHECK_FALSE(old.has_failed());
  old.join(node('b'), settings(1, 1), 0, at(41));
  CHECK(old.placement(node('b')).role == Role::kActive);
}
