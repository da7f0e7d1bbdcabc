// How rounds of a group form, complete, get spares and end.
#include <utility>
#include <vector>

#include "group/group.h"
#include "group/ranks.h"
#include "group/seeded_bugs.h"

namespace rdzv {

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
