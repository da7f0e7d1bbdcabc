// Who may join a group: what is checked before anything changes.
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "group/group.h"
#include "group/limits.h"
#include "group/ranks.h"
#include "group/seeded_bugs.h"
#include "wire/limits.h"

namespace rdzv {

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
  if (state_.do_not_restart && !has(Bug::kVerdictIsSilent))
    throw Error(ErrorCode::kRunFailed, what + failed_text());
  if (state_.closed && !has(Bug::kClosedTakesNodes))
    throw Error(ErrorCode::kRunClosed, what + closed_text());
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
  open();
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

}  // namespace rdzv
