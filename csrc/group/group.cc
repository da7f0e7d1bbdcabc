#include "group/group.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "group/codec.h"
#include "group/limits.h"

namespace rdzv {
namespace {

bool is_participant(Role role) {
  return role == Role::kForming || role == Role::kActive;
}

}  // namespace

void Group::observe(std::optional<Bytes> bytes, Instant now) {
  if (!bytes) {
    *this = Group();
    return;
  }
  if (const auto error = decode_state(*bytes, state_)) throw *error;
  look(now);
  completed_round_ = std::max(completed_round_, state_.round - (state_.complete ? 0 : 1));
  is_put_back_ = false;
  heartbeats_.observe(state_.roster);
  if (state_.last_call != last_call_seen_) {
    last_call_seen_ = state_.last_call;
    last_call_since_ = now;
  }
}

std::string Group::encode() const {
  if (state_.roster.expected().empty()) return encode_state(state_);
  GroupState state = state_;
  state.roster.expect({});
  state_.roster.expected().for_each([&](uint32_t rank) {
    state.roster.add(stand_in(rank), Member{Role::kActive, state.serial, 0, rank});
    return true;
  });
  return encode_state(state);
}

void Group::join(const NodeId& node, const GroupSettings& settings, uint64_t after_round,
                 Instant now) {
  check_join(node, settings, after_round);
  if (state_.roster.size() == 0) state_.settings = settings;
  look(now);
  state_.round_floor = std::max(state_.round_floor, after_round);
  const Member* member = state_.roster.find(node);
  if (!state_.complete) {
    if (member == nullptr) enroll(node, Role::kForming);
    state_.round = std::max(state_.round, state_.round_floor + 1);
  } else if (member == nullptr) {
    enroll(node, has_place() ? Role::kWaiting : Role::kSpare);
  } else if (member->role == Role::kDone) {
    // It gives its place in this round for one in the next, so it is listed anew.
    remove(node);
    enroll(node, Role::kWaiting);
    state_.rejoined = true;
  } else if (member->role == Role::kActive && after_round >= state_.round) {
    rejoin(node);
  }
  settle(now);
}

void Group::keep_alive(const NodeId& node, Instant now) {
  look(now);
  const Member* member = state_.roster.find(node);
  if (member == nullptr || member->role == Role::kDone) return;
  heartbeats_.moved(node, state_.roster.beat(node));
}

void Group::leave(const NodeId& node, bool failed, Instant now) {
  look(now);
  const Member* member = state_.roster.find(node);
  if (member == nullptr || member->role == Role::kDone) return;
  if (failed && is_participant(member->role)) {
    lose(node, LossReason::kFailed);
  } else if (member->role == Role::kActive) {
    state_.roster.set_role(node, Role::kDone);
    heartbeats_.forget(node);
  } else {
    remove(node);
  }
  settle(now);
}

void Group::close() {
  state_.closed = true;
  state_.last_call = 0;
  for (const Role role : {Role::kForming, Role::kWaiting, Role::kSpare})
    state_.roster.remove_all(role);
}

bool Group::sweep(size_t max) {
  return state_.roster.sweep(max, [this](const NodeId& node) {
    if (state_.roster.find(node) == nullptr) heartbeats_.forget(node);
  });
}

std::vector<NodeId> Group::expire(Instant now, size_t max) {
  std::vector<NodeId> dead;
  look(now);
  if (!state_.settings) return dead;
  const Duration window = state_.settings->keep_alive_window();
  while (const NodeId* silent = heartbeats_.silent_for(window)) {
    if (dead.size() >= max) {
      settle(now);
      return dead;
    }
    const NodeId node = *silent;
    if (node == kExpectedRanks) {
      lose_expected(dead);
      continue;
    }
    const Member* member = state_.roster.find(node);
    if (member == nullptr) {
      heartbeats_.forget(node);  // its list has gone
      continue;
    }
    if (is_participant(member->role)) {
      lose(node, LossReason::kExpired);
    } else {
      remove(node);
    }
    dead.push_back(node);
  }
  // The dead go first: without them there may be too few nodes for the last call to end with a
  // round.
  settle(now);
  if (state_.last_call != 0 && now - last_call_since_ >= state_.settings->last_call()) {
    complete_round();
    settle(now);
  }
  return dead;
}

std::optional<Instant> Group::next_deadline() const {
  if (!state_.settings) return std::nullopt;
  auto next = heartbeats_.next_look(state_.settings->keep_alive_window(),
                                    state_.settings->keep_alive_interval());
  if (state_.last_call != 0) {
    const Instant end = last_call_since_ + state_.settings->last_call();
    next = next ? std::min(*next, end) : end;
  }
  return next;
}

Placement Group::placement(const NodeId& node) const {
  const Member* member = state_.roster.find(node);
  if (member == nullptr) {
    const auto rank = static_cast<uint32_t>(node.local_id);
    const bool stands_in = state_.roster.expected().contains(rank) && node == stand_in(rank);
    return stands_in ? Placement{Role::kActive, rank} : Placement{};
  }
  const bool ranked = member->role == Role::kActive || member->role == Role::kDone;
  return {member->role, ranked ? int64_t{member->rank} : -1};
}

uint64_t Group::membership_changes(const NodeId& node, uint64_t round) const {
  const uint64_t changes = state_.roster.count(Role::kWaiting) + state_.lost.size();
  const Member* member = state_.roster.find(node);
  const bool takes_part =
      state_.round == round && member != nullptr && member->role == Role::kActive;
  return takes_part ? changes : std::max<uint64_t>(changes, 1);
}

std::vector<NodeId> Group::participants() const {
  if (!state_.complete) return state_.roster.nodes(Role::kForming);
  // Today ranks follow the natural order, but the state does not promise it.
  std::vector<std::pair<uint32_t, const NodeId*>> ranked;
  for (const auto& [node, member] : state_.roster.list(Role::kActive)) {
    if (member.role == Role::kActive) ranked.emplace_back(member.rank, &node);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<NodeId> nodes;
  nodes.reserve(state_.roster.count(Role::kActive));
  auto known = ranked.begin();
  const auto add_known_below = [&](uint64_t rank) {
    for (; known != ranked.end() && known->first < rank; ++known) nodes.push_back(*known->second);
  };
  state_.roster.expected().for_each([&](uint32_t rank) {
    add_known_below(rank);
    nodes.push_back(stand_in(rank));
    return true;
  });
  add_known_below(UINT64_MAX);
  return nodes;
}

std::vector<NodeId> Group::waiting() const {
  return state_.roster.nodes(Role::kWaiting);
}

std::vector<NodeId> Group::spares() const {
  std::vector<NodeId> nodes;
  nodes.reserve(state_.roster.spares().size());
  for (const auto& [joined, node] : state_.roster.spares()) nodes.push_back(node);
  return nodes;
}

std::vector<NodeId> Group::lost() const {
  std::vector<NodeId> nodes;
  nodes.reserve(state_.lost.size());
  for (const auto& [node, reason] : state_.lost) nodes.push_back(node);
  return nodes;
}

std::optional<Duration> Group::last_call_left(Instant now) const {
  if (state_.last_call == 0) return std::nullopt;
  return std::max(Duration::zero(), last_call_since_ + state_.settings->last_call() - now);
}

void Group::check_join(const NodeId& node, const GroupSettings& settings,
                       uint64_t after_round) const {
  const std::string what = "join of node " + to_text(node) + ": ";
  if (const auto problem = node_problem(node)) {
    throw Error(ErrorCode::kInvalidArgument, "join: the node's " + *problem);
  }
  if (const auto problem = settings_problem(settings)) {
    throw Error(ErrorCode::kInvalidArgument, what + *problem);
  }
  if (after_round > kAfterRoundMax) {
    throw Error(
        ErrorCode::kInvalidArgument,
        what + "after_round is " + std::to_string(after_round) + "; no round can have this number");
  }
  if (state_.closed) {
    throw Error(ErrorCode::kRunClosed,
                what + "the run is closed; use another run id for a new job");
  }
  check_not_failed(after_round, what);
  if (state_.roster.size() == 0) return;
  if (settings != *state_.settings) {
    throw Error(ErrorCode::kState,
                what + "the group has other settings: " + to_text(*state_.settings) +
                    "; this node has " + to_text(settings) + "; they differ in " +
                    differing_fields(*state_.settings, settings) +
                    "; start all nodes with the same settings");
  }
  if (state_.roster.size() >= kGroupNodesMax && state_.roster.find(node) == nullptr) {
    throw Error(ErrorCode::kLimit, what + "the group has " + std::to_string(kGroupNodesMax) +
                                       " nodes, the most allowed");
  }
}

// Before the settings of an empty group are known nobody is watched, and it does not matter how
// much time counts.
void Group::look(Instant now) {
  heartbeats_.look(now,
                   state_.settings ? state_.settings->keep_alive_interval() : Duration::zero());
}

void Group::enroll(const NodeId& node, Role role) {
  const Member member{role, ++state_.serial};
  state_.roster.add(node, member);
  heartbeats_.moved(node, member);
}

void Group::remove(const NodeId& node) {
  state_.roster.remove(node);
  heartbeats_.forget(node);
}

void Group::lose(const NodeId& node, LossReason reason) {
  remove(node);
  if (state_.lost.size() < kLostNodesMax || state_.lost.contains(node)) state_.lost[node] = reason;
}

void Group::rejoin(const NodeId& node) {
  state_.roster.set_role(node, Role::kWaiting);
  heartbeats_.moved(node, state_.roster.beat(node));
  state_.rejoined = true;
}

bool Group::has_place() const {
  return state_.roster.participants() + state_.roster.count(Role::kWaiting) <
         state_.settings->max_nodes;
}

void Group::settle(Instant now) {
  fail_if_hopeless();
  for (;;) {
    if (!state_.complete) settle_forming(now);
    if (!state_.complete) return;
    promote_spares();
    if (state_.roster.count(Role::kActive) > 0) return;
    end_round();
  }
}

void Group::settle_forming(Instant now) {
  const size_t nodes = state_.roster.count(Role::kForming);
  if (nodes == 0 || nodes < state_.settings->min_nodes) {
    state_.last_call = 0;
  } else if (nodes >= state_.settings->max_nodes) {
    complete_round();
  } else if (state_.last_call == 0) {
    state_.last_call = ++state_.serial;
    last_call_seen_ = state_.last_call;
    last_call_since_ = now;
  }
}

void Group::complete_round() {
  state_.complete = true;
  is_put_back_ = false;
  completed_round_ = state_.round;
  state_.world_size = static_cast<uint32_t>(state_.roster.count(Role::kForming));
  state_.roster.rank_participants();
  state_.rejoined = false;
  state_.last_call = 0;
  state_.lost.clear();
  state_.cause.reset();
  state_.failed_round = 0;
}

// A node that is done keeps its place: a job that is finishing is not disturbed by spares.
void Group::promote_spares() {
  while (!state_.roster.spares().empty() && has_place()) {
    const NodeId first = state_.roster.spares().begin()->second;
    ++promotions_;
    state_.roster.set_role(first, Role::kWaiting);
  }
}

void Group::end_round() {
  Roster& roster = state_.roster;
  const bool finished = state_.lost.empty() && !state_.rejoined;
  if (finished) {
    // The job is over: who waited for its next round is dismissed, and knows by finished_round.
    state_.finished_round = state_.round;
    for (const Role role : {Role::kDone, Role::kWaiting, Role::kSpare}) roster.remove_all(role);
  } else {
    roster.remove_all(Role::kDone);
    promote_spares();
    roster.form_waiting();
  }
  state_.round = std::max(state_.round, state_.round_floor) + 1;
  state_.complete = false;
  is_put_back_ = false;
  state_.rejoined = false;
  state_.world_size = 0;
}

}  // namespace rdzv
