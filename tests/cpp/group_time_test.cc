// The rules that need time, and what an observer keeps when the state is replaced.
#include <doctest/doctest.h>

#include <string>

#include "base/error.h"
#include "group/group.h"

namespace {

using rdzv::Duration;
using rdzv::Group;
using rdzv::GroupSettings;
using rdzv::Instant;
using rdzv::NodeId;
using rdzv::Role;

// A tiny vocabulary. Last call 30 s, a heartbeat every 5 s, dead after 15 s; `at` is seconds.
const GroupSettings kTwoToThree{2, 3, 30'000, 5'000, 3};

Instant at(double seconds) {
  return Instant(rdzv::from_seconds(seconds));
}
NodeId node(char name) {
  return NodeId::make(std::string("host-") + name, 1, 0);
}

void join(Group& group, const std::string& names, double now,
          const GroupSettings& settings = kTwoToThree, uint64_t after_round = 0) {
  for (char name : names) group.join(node(name), settings, after_round, at(now));
}
void alive(Group& group, const std::string& names, double now) {
  for (char name : names) group.keep_alive(node(name), at(now));
}
std::string in(const Group& group) {
  std::string text;
  for (const NodeId& each : group.participants()) text += each.addr.back();
  return text;
}
std::string lost(const Group& group) {
  std::string text;
  for (const NodeId& each : group.lost()) text += each.addr.back();
  return text;
}
// Looks as often as next_deadline() asks for, until `until`; returns when the group first changed.
double watch(Group& group, double until) {
  const std::string before = group.encode();
  for (;;) {
    const auto next = group.next_deadline();
    if (!next || *next > at(until)) return -1;
    group.expire(*next);
    if (group.encode() != before) return rdzv::to_seconds(next->time_since_epoch());
  }
}
std::optional<double> deadline(const Group& group) {
  const auto next = group.next_deadline();
  if (!next) return std::nullopt;
  return rdzv::to_seconds(next->time_since_epoch());
}

}  // namespace

TEST_CASE("the last call ends with a complete round") {
  Group group;
  join(group, "ab", 0);
  CHECK(group.last_call_left(at(10)) == std::chrono::seconds(20));
  for (double now = 0; now < 30; now += 5) {
    alive(group, "ab", now);
    group.expire(at(now));
    CHECK_FALSE(group.state().complete);
  }
  alive(group, "ab", 29);
  group.expire(at(30));
  CHECK(group.state().complete);
  CHECK(in(group) == "ab");
  CHECK_FALSE(group.last_call_left(at(30)));
}

TEST_CASE("a last call that is overdue has zero time left") {
  Group group;
  join(group, "ab", 0);
  CHECK(group.last_call_left(at(99)) == Duration::zero());
}

TEST_CASE("the dead are removed before the last call ends") {
  Group group;
  join(group, "ab", 0);
  for (double now = 5; now < 30; now += 5) {
    alive(group, "a", now);
    if (now <= 15) alive(group, "b", now);
    group.expire(at(now));
  }
  alive(group, "a", 30);
  group.expire(at(30));
  CHECK_FALSE(group.state().complete);
  CHECK(in(group) == "a");
  CHECK(lost(group) == "b");
  CHECK_FALSE(group.last_call_left(at(30)));
}

TEST_CASE("a node that is silent for interval x attempts is lost, exactly then") {
  Group group;
  const GroupSettings settings{2, 2, 30'000, 5'000, 3};
  join(group, "ab", 100, settings);
  CHECK(watch(group, 1000) == 115);
  CHECK(lost(group) == "ab");
  CHECK(group.state().lost.begin()->second.reason == rdzv::LossReason::kExpired);
  CHECK(group.state().round == 2);
  CHECK_FALSE(group.next_deadline());
}

TEST_CASE("a heartbeat gives a node its whole window again") {
  Group group;
  join(group, "abc", 0);
  for (double now = 5; now <= 60; now += 5) {
    alive(group, now <= 20 ? "abc" : "ac", now);
    group.expire(at(now));
    CHECK(lost(group) == (now < 35 ? "" : "b"));
  }
  CHECK(in(group) == "ac");
  CHECK(group.membership_changes(node('a'), 1) == 1);
}

TEST_CASE("a heartbeat moves bytes of listed nodes only") {
  Group group;
  join(group, "abc", 0);
  join(group, "d", 0);
  for (char name : std::string("abcd")) {
    const std::string before = group.encode();
    group.keep_alive(node(name), at(1));
    CHECK(group.encode() != before);
  }
}

TEST_CASE("dead waiting nodes and spares are removed without being lost") {
  Group group;
  const GroupSettings settings{1, 2, 1'000, 5'000, 3};
  join(group, "a", 0, settings);
  group.expire(at(1));
  REQUIRE(group.state().complete);
  join(group, "bcd", 1, settings);
  for (double now = 5; now <= 20; now += 5) {
    alive(group, "ad", now);
    group.expire(at(now));
  }
  CHECK(group.state().lost.empty());
  CHECK(group.placement(node('d')).role == Role::kWaiting);
  CHECK(group.spares().empty());
}

TEST_CASE("nodes that are done do not die") {
  Group group;
  join(group, "abc", 0);
  group.leave(node('a'), false, at(0));
  for (double now = 5; now <= 60; now += 5) {
    alive(group, "bc", now);
    group.expire(at(now));
  }
  CHECK(group.placement(node('a')).role == Role::kDone);
  CHECK(group.state().lost.empty());
}

TEST_CASE("everything that follows from a death happens in one call") {
  Group group;
  const GroupSettings settings{2, 2, 30'000, 5'000, 3};
  join(group, "ab", 0, settings);
  join(group, "cd", 0, settings);
  for (double now = 5; now <= 15; now += 5) alive(group, "cd", now);
  group.expire(at(15));
  CHECK(group.state().round == 2);
  CHECK(group.state().complete);
  CHECK(in(group) == "cd");
}

TEST_CASE("the last participant's death ends a round that others have left as done") {
  Group group;
  const GroupSettings settings{2, 2, 30'000, 5'000, 3};
  join(group, "ab", 0, settings);
  group.leave(node('a'), false, at(0));
  CHECK(watch(group, 100) == 15);
  CHECK(group.state().finished_round == 0);
  CHECK(group.state().round == 2);
  CHECK(lost(group) == "b");
}

TEST_CASE("the next deadline is the end of the last call, a death, or one interval away") {
  Group group;
  const GroupSettings settings{1, 3, 2'000, 5'000, 3};
  join(group, "a", 0, settings);
  CHECK(deadline(group) == 2.0);
  group.expire(at(2));
  REQUIRE(group.state().complete);
  CHECK(deadline(group) == 7.0);
  group.expire(at(7));
  CHECK(deadline(group) == 12.0);
  group.expire(at(12));
  CHECK(deadline(group) == 15.0);
  group.expire(at(14.5));
  CHECK(deadline(group) == 15.0);
  group.expire(at(15));
  CHECK_FALSE(deadline(group));
}

TEST_CASE("a gap counts one interval at most: nobody is dead at the first look after a stall") {
  Group group;
  join(group, "abc", 0);
  group.expire(at(4));
  group.expire(at(1000));
  CHECK(lost(group).empty());
  CHECK(deadline(group) == 1005.0);
  alive(group, "ab", 1004);
  CHECK(watch(group, 2000) == 1006);
  CHECK(lost(group) == "c");
}

TEST_CASE("a clock that goes back stands still") {
  Group group;
  join(group, "abc", 100);
  group.expire(at(50));
  group.expire(at(105));
  group.expire(at(104));
  CHECK(deadline(group) == 110.0);
}

TEST_CASE("an observer keeps the time of what did not change, by its own clock") {
  Group writer;
  join(writer, "abc", 0);
  Group reader;
  reader.observe(writer.encode(), at(5000));
  for (double now : {5.0, 10.0, 14.9}) {
    alive(writer, "ab", now);
    reader.observe(writer.encode(), at(5000 + now));
    reader.expire(at(5000 + now));
  }
  CHECK(lost(reader).empty());
  reader.expire(at(5015));
  CHECK(lost(reader) == "c");
}

TEST_CASE("an observer measures the last call from when it first saw it") {
  Group writer;
  join(writer, "ab", 0);
  Group reader;
  reader.observe(writer.encode(), at(1000));
  alive(writer, "ab", 5);
  reader.observe(writer.encode(), at(1010));
  CHECK(reader.last_call_left(at(1010)) == std::chrono::seconds(20));
  writer.leave(node('a'), false, at(12));
  join(writer, "c", 12);
  reader.observe(writer.encode(), at(1012));
  CHECK(reader.last_call_left(at(1012)) == std::chrono::seconds(30));
}

TEST_CASE("a store that could not be read makes nobody dead at the first read") {
  Group writer;
  join(writer, "abc", 0);
  Group reader;
  reader.observe(writer.encode(), at(0));
  reader.observe(writer.encode(), at(4));
  reader.observe(writer.encode(), at(600));
  reader.expire(at(600));
  CHECK(lost(reader).empty());
}

TEST_CASE("a node that was removed and came back is not taken for the silent one") {
  Group writer;
  join(writer, "abc", 0);
  Group reader;
  reader.observe(writer.encode(), at(0));
  for (double now = 4; now < 15; now += 4) {
    alive(writer, "ab", now);
    reader.observe(writer.encode(), at(now));
  }
  writer.leave(node('c'), true, at(14));
  join(writer, "c", 14);
  reader.observe(writer.encode(), at(14));
  reader.expire(at(15));
  CHECK(reader.placement(node('c')).role == Role::kWaiting);
}

TEST_CASE("who could not write the death it found finds it again at the next read") {
  Group writer;
  join(writer, "abc", 0);
  Group reader;
  for (double now = 0; now <= 15; now += 5) {
    if (now > 0) alive(writer, "ab", now);
    reader.observe(writer.encode(), at(now));
  }
  for (int i = 0; i < 3; ++i) {
    reader.expire(at(16));
    CHECK(lost(reader) == "c");
    alive(writer, "a", 16);
    reader.observe(writer.encode(), at(16));
    CHECK(lost(reader).empty());
  }
  reader.expire(at(16));
  CHECK(lost(reader) == "c");
  CHECK(in(reader) == "ab");
}

TEST_CASE("nothing in the store is a fresh group") {
  Group group;
  join(group, "ab", 0);
  group.observe(std::nullopt, at(1));
  CHECK(group.encode() == Group().encode());
  CHECK_FALSE(group.next_deadline());
}

TEST_CASE("bytes that are no state change nothing") {
  Group group;
  join(group, "ab", 0);
  const std::string before = group.encode();
  CHECK_THROWS_AS(group.observe("junk", at(1)), rdzv::Error);
  CHECK(group.encode() == before);
  CHECK(group.last_call_left(at(10)) == std::chrono::seconds(20));
}

TEST_CASE("ten thousand nodes join, stay alive, die and form the next round") {
  Group group;
  const GroupSettings settings{9'000, 10'000, 30'000, 5'000, 3};
  auto host = [](int64_t i) { return NodeId::make("host" + std::to_string(i), i, 0); };
  for (int64_t i = 0; i < 10'000; ++i) group.join(host(i), settings, 0, at(0));
  REQUIRE(group.state().complete);
  CHECK(group.placement(host(9'999)).rank == 9'999);
  for (int64_t i = 10'000; i < 11'000; ++i) group.join(host(i), settings, 0, at(0));
  for (double now = 5; now <= 15; now += 5) {
    for (int64_t i = 500; i < 11'000; ++i) group.keep_alive(host(i), at(now));
    group.expire(at(now));
  }
  CHECK(group.state().lost.size() == 500);
  CHECK(group.waiting().size() == 500);
  CHECK(group.spares().size() == 500);
  for (int64_t i = 500; i < 10'000; ++i) group.join(host(i), settings, 1, at(15));
  CHECK(group.state().round == 2);
  CHECK(group.state().complete);
  CHECK(group.placement(host(500)).rank == 500);
  CHECK(group.placement(host(10'000)).rank == 0);
}

TEST_CASE("a list that went as a whole is cleared away in parts, which nobody sees") {
  Group group;
  const GroupSettings three{3, 3, 30'000, 5'000, 3};
  join(group, "abc", 0, three);
  for (char name : std::string("abc")) group.leave(node(name), false, at(1));
  CHECK(group.state().finished_round == 1);
  CHECK(group.state().roster.size() == 0);
  CHECK_FALSE(group.sweep(1));
  // One that is back before the rest of the list is gone is watched as any other.
  join(group, "c", 2, three, 1);
  CHECK(in(group) == "c");
  const std::string before = group.encode();
  CHECK(group.sweep(10));
  CHECK(group.encode() == before);
  CHECK(group.sweep(10));
  CHECK(in(group) == "c");
  CHECK(watch(group, 100) == 17);
  CHECK(in(group).empty());
}

TEST_CASE("nodes of a closed group that were not cleared away yet are not found dead") {
  Group group;
  join(group, "ab", 0, GroupSettings{3, 3, 30'000, 5'000, 3});
  group.close();
  CHECK(group.placement(node('a')).role == std::nullopt);
  for (double now = 5; now < 60; now += 5) CHECK(group.expire(at(now)).empty());
  CHECK(lost(group).empty());
  CHECK(group.sweep(10));
  CHECK(deadline(group) == std::nullopt);
}
