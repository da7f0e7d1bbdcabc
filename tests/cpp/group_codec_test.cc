// The state as bytes: canonical, bounded, and refused whole when anything is wrong.
#include <doctest/doctest.h>

#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "group/codec.h"
#include "group/group.h"
#include "group/limits.h"

namespace {

using rdzv::append_little_endian;
using rdzv::Group;
using rdzv::GroupSettings;
using rdzv::GroupState;
using rdzv::NodeId;

// A tiny vocabulary: states to feed, and what the decoder says to bytes ("" when it takes them).
const GroupSettings kSettings{2, 3, 30'000, 5'000, 3, rdzv::RankBy::kAddress, true, false};

NodeId node(char name) {
  return NodeId::make(std::string("h") + name, 7, 1);
}

Group group(const std::string& names, const GroupSettings& settings = kSettings) {
  Group group;
  for (char name : names) group.join(node(name), settings, 0, {});
  return group;
}

// Has something in every list.
Group rich() {
  Group rich = group("abcdef");
  rich.join(node('a'), kSettings, 1, {});
  rich.leave(node('b'), true, {});
  rich.keep_alive(node('d'), {});
  return rich;
}

Group left_by(const std::string& names, bool failed, const std::string& leavers) {
  Group left = group(names);
  for (char name : leavers) left.leave(node(name), failed, {});
  return left;
}

std::vector<std::string> samples() {
  Group closed = rich();
  closed.close();
  return {Group().encode(),
          group("a").encode(),
          group("ab").encode(),
          group("abc").encode(),
          rich().encode(),
          closed.encode(),
          left_by("abc", false, "a").encode(),
          left_by("abc", false, "abc").encode(),
          left_by("a", true, "a").encode()};
}

std::string said(const std::string& bytes) {
  GroupState state;
  state.round = 77;
  const auto error = rdzv::decode_state(bytes, state);
  if (!error) {
    CHECK(rdzv::encode_state(state) == bytes);
    return "";
  }
  CHECK(error->code() == rdzv::ErrorCode::kState);
  CHECK(state.round == 77);
  CHECK(error->message().find("at byte ") != std::string::npos);
  return error->message();
}

bool says(const std::string& bytes, const std::string& what) {
  const std::string message = said(bytes);
  if (message.find(what) != std::string::npos) return true;
  MESSAGE(message);
  return false;
}

std::string hex(const std::string& bytes) {
  std::string text;
  char two[3];
  for (unsigned char byte : bytes) {
    std::snprintf(two, sizeof(two), "%02x", byte);
    text += two;
  }
  return text;
}

template <typename T>
std::string number(T value) {
  std::string bytes;
  append_little_endian(bytes, value);
  return bytes;
}

template <typename T>
std::string with(std::string bytes, size_t offset, T value) {
  return bytes.replace(offset, sizeof(T), number(value));
}

// Offsets of a state that has settings.
constexpr size_t kClosedAt = 1, kCompleteAt = 2, kRejoinedAt = 3, kMinAt = 5, kMaxAt = 9;
constexpr size_t kRankByAt = 33, kStickyAt = 34, kSegmentAt = 44;
constexpr size_t kRoundAt = 48, kFinishedAt = 56, kFloorAt = 64, kAttemptAt = 72, kSerialAt = 80;
constexpr size_t kLastCallAt = 88, kNewcomerAt = 96, kWorldAt = 104, kReasonAt = 108;
constexpr size_t kVerdictAt = 118, kCountAt = 128, kFirstAt = 132;
// Without a rank or facts; those come behind what it has.
constexpr size_t kNodeBytes = 1 + 2 + 8 + 8, kMemberBytes = kNodeBytes + 13, kRankBytes = 4;

}  // namespace

TEST_CASE("states survive the way through bytes") {
  for (const std::string& bytes : samples()) CHECK(said(bytes) == "");
}

TEST_CASE("the bytes of a state are these") {
  CHECK(
      hex(rich().encode()) ==
      // version, closed, complete, rejoined, settings follow
      "0200010101"
      // min 2, max 3, 30,000 ms, 5,000 ms, 3 attempts
      "0200000003000000307500000000000088130000000000000300"
      "0000"
      // ranks by address, sticky, former members not first, no debounce, segments of 1
      "000100000000000000000001000000"
      // round 1, finished 0, floor 1, attempt 0, serial 8, no last call, newcomer 8, world size 3
      "010000000000000000000000000000000100000000000000000000000000000008000000000000000000"
      "000000000000080000000000000003000000"
      // no reason of a closing, nor its time, no verdict; no round after which the run failed, and no cause
      "0000000000000000000000"
      "000000000000000000"
      // one participant: hc, pid 7, local id 1, serial 4, no beats, rank 2, active
      "01000000"
      "02686307000000000000000100000000000000040000000000000000000000"
      "0102000000"
      // two waiting: ha with the beat of its joining again and its last rank, hd with one heartbeat
      "02000000"
      "02686107000000000000000100000000000000010000000000000001000000"
      "0100000000"
      "02686407000000000000000100000000000000050000000000000001000000"
      "00"
      // two spares: he, hf
      "02000000"
      "02686507000000000000000100000000000000060000000000000000000000"
      "00"
      "02686607000000000000000100000000000000070000000000000000000000"
      "00"
      // one lost: hb, failed, and its rank
      "01000000"
      "02686207000000000000000100000000000000"
      "0101000000");
}

TEST_CASE("a fresh group's bytes are these") {
  // No settings, round 1; six numbers and the world size, no reason and its time, the round that
  // failed and no cause; four empty lists.
  CHECK(hex(Group().encode()) == "0200000000" + hex(number<uint64_t>(1)) +
                                     std::string(6 * 16 + 8, '0') + std::string(2 * 11, '0') +
                                     std::string(2 * 9, '0') + std::string(4 * 8, '0'));
}

TEST_CASE("no truncation is taken") {
  for (const std::string& bytes : samples()) {
    for (size_t size = 0; size < bytes.size(); ++size) {
      CHECK(said(bytes.substr(0, size)) != "");
    }
  }
}

TEST_CASE("bytes after the end are not taken") {
  for (const std::string& bytes : samples()) {
    CHECK(says(bytes + '\0',
               "bytes are left after the end, at byte " + std::to_string(bytes.size())));
  }
}

TEST_CASE("random damage is refused or means something else, exactly") {
  std::mt19937 random(20'240'229);
  const std::vector<std::string> all = samples();
  size_t taken = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = all[random() % all.size()];
    const size_t changes = 1 + random() % 3;
    for (size_t change = 0; change < changes; ++change) {
      const size_t at = random() % bytes.size();
      switch (random() % 4) {
        case 0:
          bytes[at] = static_cast<char>(random() % 256);
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] + (random() % 2 == 0 ? 1 : -1));
          break;
        case 2:
          bytes.insert(at, 1, static_cast<char>(random() % 4));
          break;
        default:
          bytes.erase(at, 1 + random() % 4);
          if (bytes.empty()) bytes = "x";
      }
    }
    GroupState state;
    if (rdzv::decode_state(bytes, state)) continue;
    ++taken;
    REQUIRE(rdzv::encode_state(state) == bytes);
    // What was taken keeps the promises the rules lean on: they run on it without breaking an
    // invariant.
    Group victim;
    victim.observe(bytes, {});
    victim.expire(rdzv::Instant(std::chrono::hours(1)));
    victim.leave(node('c'), true, {});
    if (!victim.state().closed && victim.state().settings) {
      victim.observe(bytes, {});
      const rdzv::NodeFacts facts{2, "r1", victim.state().attempt};
      try {
        victim.join(node('z'), *victim.state().settings, 0, {}, facts);
      } catch (const rdzv::Error&) {  // somebody has that rank; nothing has changed
      }
    }
    GroupState after;
    const auto error = rdzv::decode_state(victim.encode(), after);
    REQUIRE_MESSAGE(!error, (error ? error->message() : ""));
  }
  CHECK(taken > 500);
}

TEST_CASE("random bytes are refused") {
  std::mt19937 random(7);
  for (int i = 0; i < 2'000; ++i) {
    std::string bytes(random() % 200, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random() % 256);
    CHECK(said(bytes) != "");
  }
}

TEST_CASE("the version and the flags are checked") {
  const std::string bytes = rich().encode();
  // What an older version wrote.
  CHECK(says(with<uint8_t>(bytes, 0, 1), "the version is 1, not 2, at byte 0"));
  CHECK(says(with<uint8_t>(bytes, 0, 1), "another version wrote it"));
  CHECK(says(with<uint8_t>(bytes, kClosedAt, 2), "closed is 2, neither 0 nor 1, at byte 1"));
  CHECK(says(with<uint8_t>(bytes, kCompleteAt, 255), "complete is 255"));
  CHECK(says(with<uint8_t>(bytes, kRejoinedAt, 3), "rejoined is 3"));
}

TEST_CASE("settings that make no sense are no state") {
  const std::string bytes = group("a").encode();
  CHECK(says(with<uint32_t>(bytes, kMinAt, 0), "min_nodes is 0; it must be at least 1, at byte 5"));
  CHECK(says(with<uint32_t>(bytes, kMaxAt, 1), "max_nodes (1) is less"));
  CHECK(says(with<uint32_t>(bytes, kMaxAt, UINT32_MAX), "at most 131072"));
  CHECK(says(with<uint8_t>(bytes, kRankByAt, 4), "no such choice of a setting"));
  CHECK(says(with<uint8_t>(bytes, kStickyAt, 2), "no such choice of a setting"));
  CHECK(says(with<uint32_t>(bytes, kSegmentAt, 2), "not both multiples of segment"));
}

TEST_CASE("rounds and serials that cannot be are refused") {
  const std::string bytes = group("ab").encode();
  CHECK(says(with<uint64_t>(bytes, kRoundAt, 0), "an impossible round, at byte 48"));
  CHECK(says(with<uint64_t>(bytes, kRoundAt, UINT64_MAX), "an impossible round, at byte 48"));
  CHECK(says(with<uint64_t>(bytes, kFinishedAt, 1),
             "the finished round is not before the current one"));
  CHECK(says(with<uint64_t>(bytes, kFloorAt, UINT64_MAX), "an impossible round, at byte 64"));
  CHECK(says(with<uint64_t>(bytes, kFloorAt, 1), "a node took part in a later round"));
  CHECK(says(with<uint64_t>(bytes, kAttemptAt, UINT64_MAX), "no such attempt"));
  CHECK(says(with<uint64_t>(bytes, kNewcomerAt, 1), "a new node has a serial"));
  CHECK(says(with<uint64_t>(bytes, kReasonAt + 2, 1), "why an open group was closed"));
  CHECK(says(with<uint8_t>(bytes, kVerdictAt, 1), "why an open group was closed"));
  CHECK(says(with<uint8_t>(bytes, kVerdictAt, 2), "do_not_restart is 2"));
  CHECK(says(with<uint64_t>(bytes, kSerialAt, UINT64_MAX), "an impossible serial"));
  CHECK(says(with<uint64_t>(bytes, kLastCallAt, 4), "never given out"));
  CHECK(says(with<uint64_t>(bytes, kSerialAt, 1), "never given out"));
}

TEST_CASE("a count is checked before anything is allocated for it") {
  const std::string bytes = group("ab").encode();
  CHECK(says(with<uint32_t>(bytes, kCountAt, UINT32_MAX),
             "participants, more than 131072, at byte 128"));
  CHECK(says(with<uint32_t>(bytes, kCountAt, 131'072), "more than the remaining bytes can hold"));
  const std::string complete = group("abc").encode();
  CHECK(says(with<uint32_t>(complete, kWorldAt, UINT32_MAX), "world_size does not fit"));
}

TEST_CASE("nodes out of order or listed twice are refused") {
  const std::string bytes = group("ab").encode();
  const std::string a = bytes.substr(kFirstAt, kMemberBytes);
  const std::string b = bytes.substr(kFirstAt + kMemberBytes, kMemberBytes);
  auto swapped = [&](const std::string& x, const std::string& y) {
    return std::string(bytes).replace(kFirstAt, 2 * kMemberBytes, x + y);
  };
  CHECK(said(swapped(a, b)) == "");
  CHECK(says(swapped(b, a), "participants are not in order, at byte 164"));
  CHECK(says(swapped(a, a), "participants are not in order"));

  // Behind the single participant of the rich state: two waiting, two spares.
  const std::string full = rich().encode();
  const size_t waiting_at = kFirstAt + kMemberBytes + kRankBytes + 4;
  const size_t spares_at = waiting_at + 2 * kMemberBytes + kRankBytes + 4;
  auto exchange = [&](size_t at, size_t first, size_t second) {
    std::string changed = full;
    return changed.replace(at, first + second,
                           full.substr(at + first, second) + full.substr(at, first));
  };
  CHECK(says(exchange(waiting_at, kMemberBytes + kRankBytes, kMemberBytes),
             "waiting nodes are not in order"));
  CHECK(says(exchange(spares_at, kMemberBytes, kMemberBytes), "spares are not in order"));
  std::string participant = full.substr(kFirstAt, kMemberBytes);
  participant.back() = 0;  // what it has: nothing
  CHECK(says(
      std::string(full).replace(waiting_at + kMemberBytes + kRankBytes, kMemberBytes, participant),
      "node hc (pid 7) is listed twice"));
  CHECK(says(std::string(full).replace(spares_at, kMemberBytes, participant), "listed twice"));
}

TEST_CASE("a malformed node is refused") {
  const std::string bytes = group("ab").encode();
  CHECK(says(with<uint8_t>(bytes, kFirstAt + 1, 0xFF), "a node's addr must be UTF-8"));
  CHECK(says(with<uint64_t>(bytes, kFirstAt + 3, UINT64_MAX), "a node's pid is -1"));
  CHECK(said(with<uint8_t>(bytes, kFirstAt, 0)) != "");
}

TEST_CASE("ranks must be distinct and below the world size") {
  const std::string bytes = group("abc").encode();
  const size_t has_at = kFirstAt + kMemberBytes - 1;
  const size_t rank_at = has_at + 1;
  CHECK(says(with<uint32_t>(bytes, rank_at, 3), "a rank is not below world_size"));
  CHECK(says(with<uint32_t>(bytes, rank_at, 1), "two nodes have the same rank"));
  CHECK(says(with<uint8_t>(bytes, has_at, 16), "a node has unknown flags"));
  CHECK(says(with<uint32_t>(rich().encode(), rank_at + kRankBytes + 4 + kMemberBytes, 131'072),
             "an impossible rank or key"));
  CHECK(says(with<uint8_t>(group("a").encode(), has_at, 8), "done before the round is complete"));
}

TEST_CASE("states that no operations lead to are refused") {
  const std::string forming = group("ab").encode();
  CHECK(says(with<uint64_t>(forming, kLastCallAt, 0), "a last call without min_nodes"));
  CHECK(says(with<uint32_t>(forming, kWorldAt, 2), "a world_size while the round forms"));
  CHECK(says(with<uint32_t>(forming, kMaxAt, 2), "max_nodes is not complete"));
  CHECK(says(with<uint8_t>(forming, kClosedAt, 1), "forms in a closed group"));
  CHECK(says(with<uint8_t>(forming, kRejoinedAt, 1), "the rejoined flag is set while"));
  const std::string complete = group("abc").encode();
  CHECK(says(with<uint64_t>(complete, kLastCallAt, 1), "a last call in a complete round"));
  CHECK(says(with<uint32_t>(complete, kMaxAt, 2), "world_size is not between"));
  CHECK(says(with<uint32_t>(complete, kMaxAt, 2), "world_size is not between"));
  const std::string full = rich().encode();
  CHECK(says(with<uint8_t>(full, kClosedAt, 1), "nodes wait in a closed group"));
  CHECK(says(with<uint32_t>(full, kMaxAt, 4), "spares while a place is free"));
}
