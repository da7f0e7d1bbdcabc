#include "group/codec.h"
#include "wire/run_messages.h"

namespace rdzv {
namespace {

void append_flag(std::string& to, bool flag) {
  to.push_back(flag ? '\1' : '\0');
}

void append_short(std::string& to, const std::string& text) {
  to.push_back(static_cast<char>(static_cast<unsigned char>(text.size())));
  to += text;
}

void append_node(std::string& to, const NodeId& node) {
  append_short(to, node.addr);
  append_little_endian(to, static_cast<uint64_t>(node.pid));
  append_little_endian(to, node.local_id);
}

void append_member(std::string& to, const NodeId& node, const Member& member) {
  append_node(to, node);
  append_little_endian(to, member.joined);
  append_little_endian(to, member.beats);
  const NodeFacts& facts = member.facts;
  uint8_t has = 0;
  if (member.rank != kNoRank) has |= kHasRank;
  if (facts.rank != kNoRank) has |= kHasGivenRank;
  if (!facts.topology.empty()) has |= kHasTopology;
  if (member.role == Role::kDone) has |= kIsDone;
  append_little_endian(to, has);
  if (has & kHasRank) append_little_endian(to, member.rank);
  if (has & kHasGivenRank) append_little_endian(to, facts.rank);
  if (has & kHasTopology) append_short(to, facts.topology);
}

void append_count(std::string& to, size_t count) {
  append_little_endian(to, static_cast<uint32_t>(count));
}

void append_header(std::string& to, const GroupState& state) {
  to.push_back(static_cast<char>(kStateVersion));
  append_flag(to, state.closed);
  append_flag(to, state.complete);
  append_flag(to, state.rejoined);
  append_flag(to, state.settings.has_value());
  if (state.settings) {
    native::Put put(to);
    native::settings_fields(put, *state.settings);
  }
  append_little_endian(to, state.round);
  append_little_endian(to, state.finished_round);
  append_little_endian(to, state.round_floor);
  append_little_endian(to, state.attempt);
  append_little_endian(to, state.serial);
  append_little_endian(to, state.last_call);
  append_little_endian(to, state.newcomer);
  append_little_endian(to, state.world_size);
  append_little_endian(to, static_cast<uint16_t>(state.close_reason.size()));
  to += state.close_reason;
  append_little_endian(to, state.closed_unix_ms);
  append_flag(to, state.do_not_restart);
  append_little_endian(to, state.failed_round);
  append_flag(to, state.cause.has_value());
  if (!state.cause) return;
  append_node(to, state.cause->node);
  append_little_endian(to, static_cast<uint32_t>(state.cause->ending.exit_code));
  append_little_endian(to, state.cause->ending.unix_ms);
  append_little_endian(to, static_cast<uint16_t>(state.cause->ending.last_line.size()));
  to += state.cause->ending.last_line;
}

}  // namespace

std::string encode_state(const GroupState& state) {
  std::string bytes;
  append_header(bytes, state);
  append_count(bytes, state.roster.participants());
  for (const auto& [node, member] : state.roster.list(Role::kActive))
    append_member(bytes, node, member);
  append_count(bytes, state.roster.count(Role::kWaiting));
  for (const auto& [node, member] : state.roster.list(Role::kWaiting))
    append_member(bytes, node, member);
  append_count(bytes, state.roster.count(Role::kSpare));
  for (const auto& [joined, node] : state.roster.spares()) {
    append_member(bytes, node, *state.roster.find(node));
  }
  append_count(bytes, state.lost.size());
  for (const auto& [node, loss] : state.lost) {
    append_node(bytes, node);
    bytes.push_back(static_cast<char>(loss.reason));
    append_little_endian(bytes, loss.rank);
  }
  return bytes;
}

}  // namespace rdzv
