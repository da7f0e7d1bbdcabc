// Who has which rank: in the complete round, by rank; and of given ranks, who brought them. Knows no
// rules. Plain value: one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "group/node.h"

namespace rdzv {

class RankIndex {
 public:
  RankIndex() = default;
  RankIndex(RankIndex&&) = default;
  RankIndex& operator=(RankIndex&&) = default;
  // The nodes by rank stand in lists of whoever has this: a copy begins without them.
  RankIndex(const RankIndex& other) : given_(other.given_) {}
  RankIndex& operator=(const RankIndex& other) {
    by_rank_.clear();
    given_ = other.given_;
    return *this;
  }

  // Null: nobody, or it is not known.
  const NodeId* at(uint32_t rank) const {
    return rank < by_rank_.size() ? by_rank_[rank] : nullptr;
  }
  // A round of so many begins, or none.
  void begin(size_t world_size) { by_rank_.assign(world_size, nullptr); }
  // Null: it has gone.
  void put(uint32_t rank, const NodeId* node) {
    if (rank >= by_rank_.size()) {
      if (node == nullptr) return;
      by_rank_.resize(rank + 1);
    }
    by_rank_[rank] = node;
  }

  // The last one that brought it; it may be gone.
  void put_given(uint32_t rank, const NodeId& node) { given_.insert_or_assign(rank, node); }
  const NodeId* given(uint32_t rank) const {
    const auto found = given_.find(rank);
    return found == given_.end() ? nullptr : &found->second;
  }

 private:
  std::vector<const NodeId*> by_rank_;
  std::map<uint32_t, NodeId> given_;
};

}  // namespace rdzv
