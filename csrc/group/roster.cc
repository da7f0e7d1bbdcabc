#include "group/roster.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace rdzv {

namespace {

// With a rank of the complete round.
bool is_in_round(Role role) {
  return role == Role::kActive || role == Role::kDone;
}

}  // namespace

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

Blocks* Roster::blocks_of(Role role) {
  return role == Role::kForming ? &blocks_[0] : role == Role::kSpare ? &blocks_[1] : nullptr;
}

const NodeId* Roster::holder_of(uint32_t given) const {
  const NodeId* holder = ranks_.given(given);
  const Member* member = holder == nullptr ? nullptr : find(*holder);
  const bool is_held =
      member != nullptr && member->role != Role::kDone && member->facts.rank == given;
  return is_held ? holder : nullptr;
}

void Roster::set_segment(uint32_t nodes) {
  for (Blocks& blocks : blocks_) blocks.set_segment(nodes);
}

void Roster::enter(const NodeId& node, const Member& member) {
  ++counts_[static_cast<size_t>(member.role)];
  if (member.facts.rank != kNoRank) ranks_.put_given(member.facts.rank, node);
  if (Blocks* blocks = blocks_of(member.role)) blocks->add(member.facts.topology);
  if (member.role == Role::kSpare) spares_.emplace(member.joined, node);
}

void Roster::exit(const Member& member) {
  --counts_[static_cast<size_t>(member.role)];
  if (is_in_round(member.role)) ranks_.put(member.rank, nullptr);
  if (Blocks* blocks = blocks_of(member.role)) blocks->remove(member.facts.topology);
  if (member.role == Role::kSpare) spares_.erase(member.joined);
}

bool Roster::add(const NodeId& node, const Member& member) {
  if (member.role == Role::kSpare && spares_.contains(member.joined)) return false;
  Map& own = list_of(member.role);
  for (const Map* list : {&round_, &waiting_, &spare_}) {
    if (list != &own && !list->empty() && list->contains(node)) return false;
  }
  const auto [entry, is_new] = own.try_emplace(node, member);
  if (!is_new) return false;
  enter(node, member);
  if (is_in_round(member.role)) ranks_.put(member.rank, &entry->first);
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
  if (is_in_round(role)) ranks_.begin(0);
  if (Blocks* blocks = blocks_of(role)) blocks->clear();
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
  enter(node, member);
  if (&from != &to) to.insert(from.extract(node));
  if (is_in_round(role)) ranks_.put(member.rank, &to.find(node)->first);
}

const Member& Roster::beat(const NodeId& node) {
  Member& member = at(node);
  ++member.beats;
  return member;
}

void Roster::set_facts(const NodeId& node, const NodeFacts& facts) {
  Member& member = at(node);
  exit(member);
  member.facts = facts;
  enter(node, member);
}

bool Roster::make_spare(const NodeId& node, uint64_t serial) {
  Member& member = at(node);
  member.rank = kNoRank;
  const bool is_taken = spares_.contains(member.joined);
  if (is_taken) member.joined = serial;
  set_role(node, Role::kSpare);
  return is_taken;
}

std::vector<Roster::Entry*> Roster::forming() {
  std::vector<Entry*> entries;
  entries.reserve(count(Role::kForming));
  for (Entry& entry : round_)
    if (entry.second.role == Role::kForming) entries.push_back(&entry);
  return entries;
}

void Roster::begin_round() {
  ranks_.begin(count(Role::kForming));
  for (auto& [node, member] : round_) {
    if (member.role != Role::kForming) continue;
    member.role = Role::kActive;
    ranks_.put(member.rank, &node);
  }
  counts_[static_cast<size_t>(Role::kActive)] +=
      std::exchange(counts_[static_cast<size_t>(Role::kForming)], 0);
  blocks_[0].clear();
}

void Roster::form_waiting() {
  RDZV_CHECK(round_.empty(), "a round forms when the last one is empty");
  round_.swap(waiting_);
  for (auto& [node, member] : round_) {
    member.role = Role::kForming;
    blocks_[0].add(member.facts.topology);
  }
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
