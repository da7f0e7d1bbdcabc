#include "group/group.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "group/codec.h"
#include "group/limits.h"
#include "group/ranks.h"
#include "group/seeded_bugs.h"
#include "wire/limits.h"

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
  watch_newcomers(now);
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
                 Instant now, const NodeFacts& facts) {
  check_join(node, settings, after_round, facts);
  if (facts.attempt != state_.attempt) begin_attempt(facts.attempt);
  if (state_.roster.size() == 0) adopt(settings);
  look(now);
  const NodeFacts used = used_facts(facts, settings);
  state_.round_floor = std::max(state_.round_floor, after_round);
  const Member* member = state_.roster.find(node);
  if (!state_.complete) {
    if (member == nullptr)
      enroll(node, {.role = Role::kForming, .rank = take_lost_rank(node), .facts = used});
    state_.round = std::max(state_.round, state_.round_floor + 1);
  } else if (member == nullptr) {
    const uint32_t rank = take_lost_rank(node);
    const bool is_former = rank != kNoRank && settings.former_first;
    const bool is_placed = has_place(is_former) || (is_former && make_room());
    enroll(node, {.role = is_placed ? Role::kWaiting : Role::kSpare, .rank = rank, .facts = used});
    if (is_placed && rank == kNoRank) note_newcomer();
  } else if (member->role == Role::kDone) {
    // It gives its place in this round for one in the next, so it is listed anew.
    const uint32_t rank = member->rank;
    remove(node);
    enroll(node, {.role = Role::kWaiting, .rank = rank, .facts = used});
    state_.rejoined = true;
  } else if (member->role == Role::kActive && after_round >= state_.round) {
    rejoin(node);
  }
  // A node that came anew has these already.
  if (member != nullptr && state_.roster.find(node)->facts != used)
    state_.roster.set_facts(node, used);
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

void Group::close(const std::string& reason, uint64_t unix_ms, bool do_not_restart) {
  if (has(Bug::kCloseEndsVerdict)) state_.do_not_restart = false;
  if (state_.do_not_restart && !do_not_restart) return;
  const bool is_verdict = do_not_restart && !state_.do_not_restart;
  if (!state_.closed) state_.closed_unix_ms = unix_ms;
  if (state_.close_reason.empty() || (is_verdict && !reason.empty()))
    state_.close_reason = reason.substr(0, limits::kLastLineBytesMax);
  state_.closed = true;
  state_.do_not_restart = do_not_restart;
  state_.last_call = 0;
  for (const Role role : {Role::kForming, Role::kWaiting, Role::kSpare})
    state_.roster.remove_all(role);
}

bool Group::forget_close(uint64_t unix_ms, Duration ago) {
  const auto ago_ms =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(ago).count());
  const uint64_t closed = state_.closed_unix_ms;
  if (!state_.closed || closed == 0 || unix_ms < closed || unix_ms - closed < ago_ms) return false;
  if (state_.roster.size() > 0) return false;
  open();
  state_.lost.clear();
  state_.cause.reset();
  state_.failed_round = 0;
  return true;
}

void Group::open() {
  state_.closed = false;
  state_.do_not_restart = false;
  state_.close_reason.clear();
  state_.closed_unix_ms = 0;
}

std::string Group::closed_text() const {
  std::string text = "the run is closed";
  if (!state_.close_reason.empty())
    text += ": " + quoted(state_.close_reason, limits::kLastLineBytesMax);
  return text + "; use another run id for a new job";
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
  while (const NodeId* silent =
             has(Bug::kDeadTakePart) ? nullptr : heartbeats_.silent_for(window)) {
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
  const bool waits = has(Bug::kKeptForEver) && kept_places(state_) > 0;
  if (state_.last_call != 0 && !waits && now - last_call_since_ >= state_.settings->last_call()) {
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
  if (const auto due = newcomers_due()) next = next ? std::min(*next, *due) : *due;
  return next;
}

std::optional<Instant> Group::newcomers_due() const {
  if (are_newcomers_told_ || state_.newcomer == 0) return std::nullopt;
  constexpr int kDebouncesMax = 10;
  const Duration debounce = state_.settings->debounce();
  return std::min(newcomer_since_ + debounce, newcomers_since_ + kDebouncesMax * debounce);
}

void Group::watch_newcomers(Instant now) {
  if (state_.newcomer == 0) {
    newcomer_seen_ = 0;
    are_newcomers_told_ = true;
    return;
  }
  if (newcomer_seen_ == 0 || newcomers_round_ != state_.round) {
    newcomers_since_ = now;
    are_newcomers_told_ = false;
  }
  if (newcomer_seen_ != state_.newcomer) newcomer_since_ = now;
  newcomer_seen_ = state_.newcomer;
  newcomers_round_ = state_.round;
  // Once told, others that follow are told with them.
  if (has(Bug::kDebounceIsOff)) are_newcomers_told_ = true;
  if (!are_newcomers_told_) are_newcomers_told_ = now >= *newcomers_due();
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

uint64_t Group::changes() const {
  const bool counts = are_newcomers_told_ || state_.rejoined || !state_.lost.empty();
  return (counts ? state_.roster.count(Role::kWaiting) : 0) + state_.lost.size();
}

uint64_t Group::membership_changes(const NodeId& node, uint64_t round) const {
  const Member* member = state_.roster.find(node);
  const bool takes_part =
      state_.round == round && member != nullptr && member->role == Role::kActive;
  return takes_part ? changes() : std::max<uint64_t>(changes(), 1);
}

std::vector<NodeId> Group::participants() const {
  if (!state_.complete) return state_.roster.nodes(Role::kForming);
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
  for (const auto& [node, loss] : state_.lost) nodes.push_back(node);
  return nodes;
}

std::optional<Duration> Group::last_call_left(Instant now) const {
  if (state_.last_call == 0) return std::nullopt;
  return std::max(Duration::zero(), last_call_since_ + state_.settings->last_call() - now);
}

// Before the settings of an empty group are known nobody is watched, and it does not matter how
// much time counts.
void Group::look(Instant now) {
  heartbeats_.look(now,
                   state_.settings ? state_.settings->keep_alive_interval() : Duration::zero());
}

// Of an empty group.
void Group::adopt(const GroupSettings& settings) {
  state_.settings = settings;
  state_.roster.set_segment(settings.segment);
}

void Group::enroll(const NodeId& node, const Member& member) {
  Member listed = member;
  listed.joined = ++state_.serial;
  state_.roster.add(node, listed);
  heartbeats_.moved(node, listed);
}

// Of a node that was lost from the last round, or whose address another one that was lost had: an
// agent that was started again is another node of the same address.
uint32_t Group::take_lost_rank(const NodeId& node) {
  if (state_.lost.empty()) return kNoRank;
  if (const auto own = state_.lost.find(node);
      own != state_.lost.end() && own->second.rank != kNoRank)
    return std::exchange(own->second.rank, kNoRank);
  auto at = state_.lost.lower_bound(NodeId{node.addr, 0, 0});
  for (; at != state_.lost.end() && at->first.addr == node.addr; ++at) {
    if (at->second.rank != kNoRank) return std::exchange(at->second.rank, kNoRank);
  }
  return kNoRank;
}

void Group::remove(const NodeId& node) {
  state_.roster.remove(node);
  heartbeats_.forget(node);
}

void Group::lose(const NodeId& node, LossReason reason) {
  const uint32_t rank = state_.roster.find(node)->rank;
  remove(node);
  if (has(Bug::kLossIsSilent)) return;
  if (state_.lost.size() < kLostNodesMax || state_.lost.contains(node))
    state_.lost[node] = {reason, rank};
}

void Group::rejoin(const NodeId& node) {
  state_.roster.set_role(node, Role::kWaiting);
  heartbeats_.moved(node, state_.roster.beat(node));
  state_.rejoined = true;
}

}  // namespace rdzv
