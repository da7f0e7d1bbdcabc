// The nodes of a group, each in exactly one list: those of the round, the wait list, the spares.
// Keeps how many there are of each role and the order of the spares, so that the rules never scan.
// A list that goes as a whole goes at once, however long it is; what is left of it in memory is
// cleared away later, in parts. Ranks of the complete round whose nodes are not known yet are
// numbers, not nodes. Knows no rules and no clock; no locks: one thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "group/blocks.h"
#include "group/facts.h"
#include "group/node.h"
#include "group/rank_index.h"
#include "group/rank_set.h"

namespace rdzv {

enum class Role : uint8_t {
  kForming,  // participant of a round that is not complete
  kActive,   // participant of the complete round
  kDone,     // was participant of the complete round and has left it
  kWaiting,  // wait list: has a place in the next round
  kSpare,    // more than max_nodes: gets a place when one becomes free
};

struct Member {
  Role role = Role::kForming;
  // Drawn from the group's serial when the node was listed. It orders spares, and it tells a node
  // that came back from the one that was removed: their beats alone could agree by chance.
  uint64_t joined = 0;
  uint32_t beats = 0;  // moves with every heartbeat; wraps, only equality counts
  // Of active and done nodes. Of others, the rank that they had in the last complete round if they
  // were in it; kNoRank: they were not.
  uint32_t rank = kNoRank;
  NodeFacts facts{};

  bool operator==(const Member&) const = default;
};

class Roster {
 public:
  using Map = std::map<NodeId, Member>;  // in natural order
  using Entry = Map::value_type;
  using Spares = std::map<uint64_t, NodeId>;

  // The list that has the nodes of this role. Those of the round are in one, whatever their role.
  const Map& list(Role role) const { return const_cast<Roster*>(this)->list_of(role); }
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (const Map* list : {&round_, &waiting_, &spare_}) {
      for (const auto& [node, member] : *list) visit(node, member);
    }
  }
  // Without expected ranks.
  size_t listed() const { return round_.size() + waiting_.size() + spare_.size(); }
  // Expected ranks count as nodes: here, and as active ones.
  size_t size() const { return listed() + expected_.size(); }
  size_t count(Role role) const { return counts_[static_cast<size_t>(role)]; }
  // In the round, whether it is forming or complete: done nodes keep their place until it ends.
  size_t participants() const {
    return count(Role::kForming) + count(Role::kActive) + count(Role::kDone);
  }
  const Member* find(const NodeId& node) const;
  std::vector<NodeId> nodes(Role role) const;  // in natural order
  // The serial at which each spare was listed, and the spare: in order of joining.
  const Spares& spares() const { return spares_; }

  const Blocks& forming_blocks() const { return blocks_[0]; }
  const Blocks& spare_blocks() const { return blocks_[1]; }
  // Who is in the complete round with that rank; null: it has left, or is not known.
  const NodeId* at_rank(uint32_t rank) const { return ranks_.at(rank); }
  // Who has brought this given rank, and is not done; null: nobody.
  const NodeId* holder_of(uint32_t given) const;

  // To be told while nobody is listed.
  void set_segment(uint32_t nodes);
  // False, and nothing changes, when the node is listed already or another spare has that serial.
  bool add(const NodeId& node, const Member& member);
  void remove(const NodeId& node);
  void set_role(const NodeId& node, Role role);
  void set_facts(const NodeId& node, const NodeFacts& facts);
  // Who forms becomes a spare, in the order of joining, and was not in the last round. `serial` is
  // its own from now on if its own one is taken; whether that is so.
  bool make_spare(const NodeId& node, uint64_t serial);
  // Moves the heartbeat; returns the member.
  const Member& beat(const NodeId& node);
  // All of them.
  void remove_all(Role role);
  // Takes up to `max` of those whose lists have gone out of memory: visit(node). True: none is
  // left.
  template <typename Visit>
  bool sweep(size_t max, Visit&& visit) {
    for (; !gone_.empty() && max > 0; --max) {
      Map& list = gone_.back();
      visit(list.begin()->first);
      list.erase(list.begin());
      if (list.empty()) gone_.pop_back();
    }
    for (; !gone_spares_.empty() && max > 0; --max) {
      gone_spares_.back().erase(gone_spares_.back().begin());
      if (gone_spares_.back().empty()) gone_spares_.pop_back();
    }
    return gone_.empty() && gone_spares_.empty();
  }
  // They were not in the last complete round.
  void forget_ranks_of_spares() {
    for (auto& [node, member] : spare_) member.rank = kNoRank;
  }
  // In natural order. Their ranks may be changed.
  std::vector<Entry*> forming();
  // Forming nodes, who have got their ranks, become active.
  void begin_round();
  // Those on the wait list, of a round that has nobody.
  void form_waiting();

  // Ranks that count as active although it is not known who has them.
  const RankSet& expected() const { return expected_; }
  void expect(RankSet ranks);
  // False, and nothing changes, when it is not expected.
  bool take_expected(uint32_t rank);

 private:
  Map& list_of(Role role);
  Member& at(const NodeId& node);
  void enter(const NodeId& node, const Member& member);
  void exit(const Member& member);
  Blocks* blocks_of(Role role);

  Map round_;
  Map waiting_;
  Map spare_;
  Spares spares_;
  // None is empty.
  std::vector<Map> gone_;
  std::vector<Spares> gone_spares_;
  std::array<size_t, 5> counts_{};
  std::array<Blocks, 2> blocks_;  // of those that form, and of the spares
  RankIndex ranks_;
  RankSet expected_;
};

}  // namespace rdzv
