// What only the one keeper of a group knows or needs: a node whose connection broke, and a complete
// round that has to be put back because the keeper lost its memory.
#include "base/error.h"
#include "group/group.h"
#include "group/limits.h"

namespace rdzv {
namespace {

// Holds a rank until its node comes back; named as it shall be told when that never comes.
NodeId stand_in(uint32_t rank) {
  return NodeId{"rank " + std::to_string(rank), 0, rank};
}

}  // namespace

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

bool Group::resume(const NodeId& node, const GroupSettings& settings, uint64_t round, uint32_t rank,
                   uint32_t world_size, Instant now) {
  check_resume(node, settings, round, rank, world_size);
  const Member* member = state_.roster.find(node);
  if (state_.complete) {
    if (state_.round != round || state_.world_size != world_size) return false;
    const Member* holder = member != nullptr ? member : state_.roster.find(stand_in(rank));
    if (holder == nullptr || holder->role != Role::kActive || holder->rank != rank) return false;
  } else if (round <= completed_round_) {
    return false;
  }
  if (state_.roster.size() == 0) state_.settings = settings;
  look(now);
  if (!state_.complete) {
    if (member != nullptr) remove(node);
    put_back(round, world_size);
  } else if (member != nullptr) {
    heartbeats_.moved(node, state_.roster.beat(node));
    return true;
  }
  remove(stand_in(rank));
  enroll_active(node, rank);
  settle(now);
  return true;
}

void Group::put_back(uint64_t round, uint32_t world_size) {
  const std::vector<NodeId> meanwhile = state_.roster.nodes(Role::kForming);
  state_.round = round;
  state_.complete = true;
  state_.rejoined = false;
  state_.last_call = 0;
  state_.world_size = world_size;
  state_.lost.clear();
  completed_round_ = round;
  for (uint32_t rank = 0; rank < world_size; ++rank) enroll_active(stand_in(rank), rank);
  for (const NodeId& node : meanwhile) state_.roster.set_role(node, Role::kSpare);
  promote_spares();
}

void Group::enroll_active(const NodeId& node, uint32_t rank) {
  const Member member{Role::kActive, ++state_.serial, 0, rank};
  state_.roster.add(node, member);
  heartbeats_.moved(node, member);
}

void Group::check_resume(const NodeId& node, const GroupSettings& settings, uint64_t round,
                         uint32_t rank, uint32_t world_size) const {
  if (const auto problem = node_problem(node))
    throw Error(ErrorCode::kInvalidArgument, "resume: the node's " + *problem);
  const std::string what = "resume of node " + to_text(node) + ": ";
  if (const auto problem = settings_problem(settings))
    throw Error(ErrorCode::kInvalidArgument, what + *problem);
  if (round == 0 || round > kAfterRoundMax || rank >= world_size ||
      world_size < settings.min_nodes || world_size > settings.max_nodes) {
    throw Error(ErrorCode::kInvalidArgument, what + "there is no rank " + std::to_string(rank) +
                                                 " in round " + std::to_string(round) + " of " +
                                                 std::to_string(world_size) + " nodes with " +
                                                 to_text(settings));
  }
  if (state_.roster.size() > 0 && settings != *state_.settings) {
    throw Error(ErrorCode::kState,
                what + "the group was formed with other settings: " + to_text(*state_.settings) +
                    "; they differ in " + differing_fields(*state_.settings, settings) +
                    "; start all nodes with the same ones");
  }
  if (state_.roster.size() + world_size > kGroupNodesMax && !state_.complete) {
    throw Error(ErrorCode::kLimit, what + "the group would have more than " +
                                       std::to_string(kGroupNodesMax) + " nodes");
  }
}

}  // namespace rdzv
