// What only the one keeper of a group knows or needs: a node whose connection broke, and a complete
// round that has to be put back because the keeper lost its memory.
#include <utility>

#include "base/error.h"
#include "group/group.h"
#include "group/limits.h"

namespace rdzv {

void Group::drop(const NodeId& node, Instant now) {
  look(now);
  const Member* member = state_.roster.find(node);
  if (member == nullptr || member->role == Role::kDone) return;
  if (member->role == Role::kForming || member->role == Role::kActive) {
    lose(node, LossReason::kExpired);
  } else {
    remove(node);
  }
  settle(now);
}

Resumed Group::resume(const NodeId& node, const GroupSettings& settings, uint64_t round,
                      uint32_t rank, uint32_t world_size, Instant now, const NodeFacts& facts) {
  check_resume(node, settings, round, rank, world_size, facts);
  if (facts.attempt < state_.attempt) return Resumed::kRefused;
  if (facts.attempt > state_.attempt) begin_attempt(facts.attempt);
  const bool replaces = is_replaced_by(round);
  if (!replaces && !may_resume(node, round, rank, world_size)) return Resumed::kRefused;
  if (replaces) forget_round(settings);
  if (state_.roster.size() == 0) adopt(settings);
  look(now);
  const Member* member = state_.roster.find(node);
  const bool is_new = !state_.complete || replaces;
  if (!is_new && member != nullptr && member->role == Role::kActive) {
    heartbeats_.moved(node, state_.roster.beat(node));
    return Resumed::kTaken;
  }
  if (member != nullptr) remove(node);
  if (is_new) put_back(round, world_size);
  state_.roster.take_expected(rank);
  if (state_.roster.expected().empty()) heartbeats_.forget(kExpectedRanks);
  if (settings.rank_by == RankBy::kGiven) free_given(facts.rank);
  enroll_active(node, rank, used_facts(facts, settings));
  settle(now);
  return replaces ? Resumed::kReplaced : Resumed::kTaken;
}

bool Group::may_resume(const NodeId& node, uint64_t round, uint32_t rank,
                       uint32_t world_size) const {
  if (!state_.complete) return round > completed_round_ && round >= state_.round_floor;
  if (state_.round != round || state_.world_size != world_size) return false;
  const Member* member = state_.roster.find(node);
  if (member != nullptr && member->role == Role::kActive) return member->rank == rank;
  const bool is_done = member != nullptr && member->role == Role::kDone;
  return !is_done && state_.roster.expected().contains(rank);
}

// Its nodes have to join again. Who waits for the next round waits on, if that has the same
// settings.
void Group::forget_round(const GroupSettings& settings) {
  forget_expected();
  for (const Role role : {Role::kActive, Role::kDone}) state_.roster.remove_all(role);
  if (settings == *state_.settings) return;
  for (const Role role : {Role::kWaiting, Role::kSpare}) state_.roster.remove_all(role);
  adopt(settings);
}

void Group::put_back(uint64_t round, uint32_t world_size) {
  std::vector<NodeId> meanwhile = state_.roster.nodes(Role::kForming);
  for (NodeId& node : state_.roster.nodes(Role::kWaiting)) meanwhile.push_back(std::move(node));
  state_.round = round;
  state_.complete = true;
  is_put_back_ = true;
  state_.rejoined = false;
  state_.last_call = 0;
  state_.newcomer = 0;
  state_.world_size = world_size;
  state_.lost.clear();
  state_.cause.reset();
  state_.failed_round = 0;
  completed_round_ = round;
  state_.roster.expect(RankSet(world_size));
  heartbeats_.moved(kExpectedRanks, Member{Role::kActive, ++state_.serial});
  for (const NodeId& node : meanwhile) state_.roster.set_role(node, Role::kSpare);
  state_.roster.forget_ranks_of_spares();
  promote_spares();
}

void Group::forget_expected() {
  state_.roster.expect({});
  heartbeats_.forget(kExpectedRanks);
}

// As many are named as are remembered of a loss.
void Group::lose_expected(std::vector<NodeId>& dead) {
  state_.roster.expected().for_each([&](uint32_t rank) {
    if (state_.lost.size() >= kLostNodesMax) return false;
    dead.push_back(stand_in(rank));
    state_.lost[dead.back()] = {LossReason::kExpired, rank};
    return true;
  });
  forget_expected();
}

// Who came while its owner was away has it: it joins again, and is told whose it is.
void Group::free_given(uint32_t rank) {
  const NodeId* holder = state_.roster.holder_of(rank);
  if (holder == nullptr || state_.roster.find(*holder)->role == Role::kActive) return;
  remove(NodeId(*holder));
  ++promotions_;
}

void Group::enroll_active(const NodeId& node, uint32_t rank, const NodeFacts& facts) {
  const Member member{Role::kActive, ++state_.serial, 0, rank, facts};
  state_.roster.add(node, member);
  heartbeats_.moved(node, member);
}

void Group::check_resume(const NodeId& node, const GroupSettings& settings, uint64_t round,
                         uint32_t rank, uint32_t world_size, const NodeFacts& facts) const {
  if (const auto problem = node_problem(node))
    throw Error(ErrorCode::kInvalidArgument, "resume: the node's " + *problem);
  const std::string what = "resume of node " + to_text(node) + ": ";
  if (const auto problem = settings_problem(settings))
    throw Error(ErrorCode::kInvalidArgument, what + *problem);
  if (const auto problem = facts_problem(facts, settings))
    throw Error(ErrorCode::kInvalidArgument, what + *problem);
  if (round == 0 || round > kAfterRoundMax || rank >= world_size ||
      world_size < settings.min_nodes || world_size > settings.max_nodes ||
      world_size % settings.segment != 0) {
    throw Error(ErrorCode::kInvalidArgument, what + "there is no rank " + std::to_string(rank) +
                                                 " in round " + std::to_string(round) + " of " +
                                                 std::to_string(world_size) + " nodes with " +
                                                 to_text(settings));
  }
  if (facts.attempt != state_.attempt) return;
  if (state_.roster.size() > 0 && settings != *state_.settings && !is_replaced_by(round)) {
    throw Error(ErrorCode::kState,
                what + "the group has other settings: " + to_text(*state_.settings) +
                    "; they differ in " + differing_fields(*state_.settings, settings) +
                    "; start all nodes with the same settings");
  }
  const size_t others = is_replaced_by(round) ? state_.roster.count(Role::kWaiting) +
                                                    state_.roster.count(Role::kSpare)
                                              : state_.roster.size();
  if (others + world_size > kGroupNodesMax && (!state_.complete || is_replaced_by(round))) {
    throw Error(ErrorCode::kLimit, what + "the group would have more than " +
                                       std::to_string(kGroupNodesMax) + " nodes");
  }
}

}  // namespace rdzv
