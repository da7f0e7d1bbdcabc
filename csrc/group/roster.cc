#include "group/roster.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace rdzv {

const Member* Roster::find(const NodeId& node) const {
  const auto found = members_.find(node);
  return found == members_.end() ? nullptr : &found->second;
}

std::vector<NodeId> Roster::nodes(Role role) const {
  std::vector<NodeId> nodes;
  nodes.reserve(std::min(count(role), members_.size()));
  for (const auto& [node, member] : members_) {
    if (member.role == role) nodes.push_back(node);
  }
  return nodes;
}

void Roster::enter(const NodeId& node, const Member& member) {
  ++counts_[static_cast<size_t>(member.role)];
  if (member.role == Role::kSpare) spares_.emplace(member.joined, node);
}

void Roster::exit(const Member& member) {
  --counts_[static_cast<size_t>(member.role)];
  if (member.role == Role::kSpare) spares_.erase(member.joined);
}

bool Roster::add(const NodeId& node, const Member& member) {
  if (member.role == Role::kSpare && spares_.contains(member.joined)) return false;
  if (!members_.try_emplace(node, member).second) return false;
  enter(node, member);
  return true;
}

void Roster::remove(const NodeId& node) {
  const auto found = members_.find(node);
  RDZV_CHECK(found != members_.end(), "a node that is not listed cannot be removed");
  exit(found->second);
  members_.erase(found);
}

void Roster::set_role(const NodeId& node, Role role) {
  const auto found = members_.find(node);
  RDZV_CHECK(found != members_.end(), "a node that is not listed has no role to change");
  exit(found->second);
  found->second.role = role;
  if (role != Role::kActive && role != Role::kDone) found->second.rank = 0;
  enter(node, found->second);
}

const Member& Roster::beat(const NodeId& node) {
  const auto found = members_.find(node);
  RDZV_CHECK(found != members_.end(), "a node that is not listed has no heartbeat");
  ++found->second.beats;
  return found->second;
}

void Roster::rank_participants() {
  uint32_t rank = 0;
  for (auto& [node, member] : members_) {
    if (member.role != Role::kForming) continue;
    member.role = Role::kActive;
    member.rank = rank++;
  }
  counts_[static_cast<size_t>(Role::kActive)] += counts_[static_cast<size_t>(Role::kForming)];
  counts_[static_cast<size_t>(Role::kForming)] = 0;
}

void Roster::expect(RankSet ranks) {
  size_t& active = counts_[static_cast<size_t>(Role::kActive)];
  active += ranks.size();
  active -= std::exchange(expected_, std::move(ranks)).size();
}

bool Roster::take_expected(uint32_t rank) {
  if (!expected_.erase(rank)) return false;
  --counts_[static_cast<size_t>(Role::kActive)];
  return true;
}

}  // namespace rdzv
