#include "group/roster.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace rdzv {

Roster::Map& Roster::list_of(Role role) {
  switch (role) {
    case Role::kWaiting:
      return waiting_;
    case Role::kSpare:
      return spare_;
    default:
      return round_;
  }
}

const Member* Roster::find(const NodeId& node) const {
  for (const Map* list : {&round_, &waiting_, &spare_}) {
    if (list->empty()) continue;
    const auto found = list->find(node);
    if (found != list->end()) return &found->second;
  }
  return nullptr;
}

Member& Roster::at(const NodeId& node) {
  const Member* found = find(node);
  RDZV_CHECK(found != nullptr, "a node that is not listed cannot be changed");
  return const_cast<Member&>(*found);
}

std::vector<NodeId> Roster::nodes(Role role) const {
  std::vector<NodeId> nodes;
  nodes.reserve(std::min(count(role), listed()));
  for (const auto& [node, member] : list(role)) {
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
  Map& own = list_of(member.role);
  for (const Map* list : {&round_, &waiting_, &spare_}) {
    if (list != &own && !list->empty() && list->contains(node)) return false;
  }
  if (!own.try_emplace(node, member).second) return false;
  enter(node, member);
  return true;
}

void Roster::remove(const NodeId& node) {
  for (Map* list : {&round_, &waiting_, &spare_}) {
    const auto found = list->find(node);
    if (found == list->end()) continue;
    exit(found->second);
    list->erase(found);
    return;
  }
  RDZV_CHECK(false, "a node that is not listed cannot be removed");
}

void Roster::remove_all(Role role) {
  Map& list = list_of(role);
  if (list.size() > count(role)) {
    for (const NodeId& node : nodes(role)) remove(node);
    return;
  }
  counts_[static_cast<size_t>(role)] = 0;
  if (list.empty()) return;
  gone_.push_back(std::exchange(list, {}));
  if (role == Role::kSpare) gone_spares_.push_back(std::exchange(spares_, {}));
}

void Roster::set_role(const NodeId& node, Role role) {
  Member& member = at(node);
  exit(member);
  Map& from = list_of(member.role);
  Map& to = list_of(role);
  member.role = role;
  if (role != Role::kActive && role != Role::kDone) member.rank = 0;
  enter(node, member);
  if (&from != &to) to.insert(from.extract(node));
}

const Member& Roster::beat(const NodeId& node) {
  Member& member = at(node);
  ++member.beats;
  return member;
}

void Roster::rank_participants() {
  uint32_t rank = 0;
  for (auto& [node, member] : round_) {
    if (member.role != Role::kForming) continue;
    member.role = Role::kActive;
    member.rank = rank++;
  }
  counts_[static_cast<size_t>(Role::kActive)] += counts_[static_cast<size_t>(Role::kForming)];
  counts_[static_cast<size_t>(Role::kForming)] = 0;
}

void Roster::form_waiting() {
  RDZV_CHECK(round_.empty(), "a round forms when the last one is empty");
  round_.swap(waiting_);
  for (auto& [node, member] : round_) member.role = Role::kForming;
  counts_[static_cast<size_t>(Role::kForming)] =
      std::exchange(counts_[static_cast<size_t>(Role::kWaiting)], 0);
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
