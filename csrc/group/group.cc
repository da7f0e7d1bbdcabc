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

void Group::close(const std::string& reason, uint64_t unix_ms) {
  if (!state_.closed) state_.closed_unix_ms = unix_ms;
  if (state_.close_reason.empty())
    state_.close_reason = reason.substr(0, limits::kLastLineBytesMax);
  state_.closed = true;
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
  state_.closed = false;
  state_.close_reason.clear();
  state_.closed_unix_ms = 0;
  state_.lost.clear();
  state_.cause.reset();
  state_.failed_round = 0;
  return true;
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

void Group::check_join(const NodeId& node, const GroupSettings& settings, uint64_t after_round,
                       const NodeFacts& facts) const {
  const std::string what = "join of node " + to_text(node) + ": ";
  if (const auto problem = node_problem(node)) {
    throw Error(ErrorCode::kInvalidArgument, "join: the node's " + *problem);
  }
  if (const auto problem = settings_problem(settings)) {
    throw Error(ErrorCode::kInvalidArgument, what + *problem);
  }
  if (const auto problem = facts_problem(facts, settings))
    throw Error(ErrorCode::kInvalidArgument, what + *problem);
  if (after_round > kAfterRoundMax) {
    throw Error(
        ErrorCode::kInvalidArgument,
        what + "after_round is " + std::to_string(after_round) + "; no round can have this number");
  }
  check_attempt(facts.attempt, what);
  if (facts.attempt > state_.attempt) return;
  if (state_.closed && !has(Bug::kClosedTakesNodes)) {
    throw Error(ErrorCode::kRunClosed, what + closed_text());
  }
  check_not_failed(after_round, what);
  if (state_.roster.size() == 0) return;
  check_agrees(node, settings, facts, what);
  if (state_.roster.size() >= kGroupNodesMax && state_.roster.find(node) == nullptr) {
    throw Error(ErrorCode::kLimit, what + "the group has " + std::to_string(kGroupNodesMax) +
                                       " nodes, the most allowed");
  }
}

// Who does not say takes part in any, and in a new one when nobody is there.
void Group::check_attempt(uint64_t attempt, const std::string& what) const {
  if (attempt >= state_.attempt || has(Bug::kOldAttemptIsTaken)) return;
  if (attempt == 0 && state_.roster.size() == 0) return;
  const std::string brings = attempt == 0 ? "is of the first start, or does not say"
                                          : "belongs to attempt " + std::to_string(attempt);
  throw Error(ErrorCode::kState, what + "the run is at attempt " + std::to_string(state_.attempt) +
                                     ", and this node " + brings +
                                     "; a later start of the job has taken its place: end it");
}

// Nobody of the earlier one has a place; the rounds go on counting.
void Group::begin_attempt(uint64_t attempt) {
  const bool is_later = attempt > state_.attempt;
  state_.attempt = attempt;
  if (!is_later) return;
  forget_expected();
  for (const Role role : {Role::kForming, Role::kActive, Role::kDone, Role::kWaiting, Role::kSpare})
    state_.roster.remove_all(role);
  if (state_.complete) state_.round = std::max(state_.round, state_.round_floor) + 1;
  state_.complete = false;
  is_put_back_ = false;
  state_.closed = false;
  state_.close_reason.clear();
  state_.closed_unix_ms = 0;
  state_.rejoined = false;
  state_.last_call = 0;
  state_.newcomer = 0;
  state_.world_size = 0;
  state_.lost.clear();
  state_.cause.reset();
  state_.failed_round = 0;
}

void Group::check_agrees(const NodeId& node, const GroupSettings& settings, const NodeFacts& facts,
                         const std::string& what) const {
  if (settings != *state_.settings) {
    throw Error(ErrorCode::kState,
                what + "the group has other settings: " + to_text(*state_.settings) +
                    "; this node has " + to_text(settings) + "; they differ in " +
                    differing_fields(*state_.settings, settings) +
                    "; start all nodes with the same settings");
  }
  if (settings.rank_by != RankBy::kGiven) return;
  const NodeId* holder = state_.roster.holder_of(facts.rank);
  if (holder == nullptr || *holder == node || has(Bug::kGivenRankTwice)) return;
  throw Error(ErrorCode::kState,
              what + "the given rank " + std::to_string(facts.rank) + " is that of node " +
                  to_text(*holder) + "; give each node a rank of its own" +
                  (holder->addr == node.addr
                       ? " (if that is an earlier process of this node, it is taken for dead when "
                         "its connection or its keep-alives end)"
                       : ""));
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

// With segments, only a whole one has.
bool Group::has_place(bool is_former) const {
  if (state_.settings->segment > 1) return false;
  const size_t max = state_.settings->max_nodes;
  const size_t taken = state_.roster.participants() + state_.roster.count(Role::kWaiting);
  if (has(Bug::kPlaceTooMany)) return taken <= max;
  if (taken >= max || is_former || taken + state_.lost.size() < max) return taken < max;
  return taken + kept_places(state_) < max;
}

// For a former member: who came last and was not in the last round becomes a spare.
bool Group::make_room() {
  if (state_.settings->segment > 1) return false;
  const Roster::Entry* last = nullptr;
  for (const Roster::Entry& entry : state_.roster.list(Role::kWaiting)) {
    if (entry.second.rank != kNoRank) continue;
    if (last == nullptr || entry.second.joined > last->second.joined) last = &entry;
  }
  if (last == nullptr) return false;
  if (state_.roster.make_spare(NodeId(last->first), state_.serial + 1)) ++state_.serial;
  ++promotions_;
  return true;
}

void Group::settle(Instant now) {
  fail_if_hopeless();
  for (;;) {
    if (!state_.complete) settle_forming(now);
    if (!state_.complete) return;
    promote_spares();
    // Whoever comes next is the first again.
    if (state_.roster.count(Role::kWaiting) == 0) state_.newcomer = 0;
    if (state_.roster.count(Role::kActive) > 0) return watch_newcomers(now);
    end_round();
  }
}

void Group::settle_forming(Instant now) {
  const size_t nodes = takeable(state_.roster, *state_.settings);
  const size_t min = state_.settings->min_nodes - (has(Bug::kRoundTooSmall) ? 1 : 0);
  if (nodes == 0 || nodes < min) {
    state_.last_call = 0;
  } else if (nodes >= state_.settings->max_nodes && kept_places(state_) == 0) {
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
  for (const NodeId& node :
       has(Bug::kRoundTooLarge) ? std::vector<NodeId>() : surplus(state_.roster, *state_.settings))
    if (state_.roster.make_spare(node, state_.serial + 1)) ++state_.serial;
  state_.world_size = static_cast<uint32_t>(state_.roster.count(Role::kForming));
  assign_ranks(state_.roster.forming(), *state_.settings);
  state_.roster.begin_round();
  if (!has(Bug::kOldRanksAreKept)) state_.roster.forget_ranks_of_spares();
  state_.rejoined = false;
  state_.last_call = 0;
  state_.newcomer = 0;
  state_.lost.clear();
  state_.cause.reset();
  state_.failed_round = 0;
}

// A node that is done keeps its place: a job that is finishing is not disturbed by spares.
void Group::promote_spares() {
  while (!state_.roster.spares().empty() && has_place(false)) {
    const Roster::Spares& all = state_.roster.spares();
    const NodeId first = has(Bug::kLastSpareFirst) ? all.rbegin()->second : all.begin()->second;
    ++promotions_;
    state_.roster.set_role(first, Role::kWaiting);
    note_newcomer();
  }
  while (promote_segment()) continue;
}

// The spares of one topology key, once they are enough.
bool Group::promote_segment() {
  Roster& roster = state_.roster;
  const uint32_t segment = state_.settings->segment;
  const size_t taken = roster.participants() + roster.count(Role::kWaiting);
  if (segment == 1 || taken + segment > state_.settings->max_nodes) return false;
  const std::string* key = roster.spare_blocks().any_whole();
  if (key == nullptr) return false;
  std::vector<NodeId> first;
  for (auto at = roster.spares().begin(); first.size() < segment; ++at)
    if (roster.find(at->second)->facts.topology == *key) first.push_back(at->second);
  for (const NodeId& node : first) roster.set_role(node, Role::kWaiting);
  promotions_ += segment;
  note_newcomer();
  return true;
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
    // Whom the round takes is decided when it is complete.
    if (state_.settings->segment > 1 || kept_places(state_) > 0)
      for (const NodeId& node : spares()) roster.set_role(node, Role::kForming);
  }
  if (!has(Bug::kSameRoundAgain)) state_.round = std::max(state_.round, state_.round_floor) + 1;
  state_.complete = false;
  is_put_back_ = false;
  state_.rejoined = false;
  state_.newcomer = 0;
  state_.world_size = 0;
}

}  // namespace rdzv
