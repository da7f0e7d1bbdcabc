// A set of ranks as ranges of numbers: all of 131,072 ranks cost as much as one. Knows nothing of
// nodes. Plain value: any thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>

namespace rdzv {

class RankSet {
 public:
  RankSet() = default;
  // 0 to count - 1.
  explicit RankSet(uint32_t count) : size_(count) {
    if (count > 0) ranges_.emplace(0, count);
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  size_t ranges() const { return ranges_.size(); }
  bool contains(uint32_t rank) const;
  // False if it is not there.
  bool erase(uint32_t rank);
  // In ascending order, not below `from`, until `visit` returns false.
  template <typename Visit>
  void for_each(Visit&& visit, uint32_t from = 0) const {
    auto range = ranges_.upper_bound(from);
    if (range != ranges_.begin()) --range;
    for (; range != ranges_.end(); ++range) {
      for (uint32_t rank = std::max(range->first, from); rank < range->second; ++rank) {
        if (!visit(rank)) return;
      }
    }
  }

 private:
  using Ranges = std::map<uint32_t, uint32_t>;  // begin, and the first that is not in it

  Ranges::const_iterator range_of(uint32_t rank) const;

  Ranges ranges_;
  size_t size_ = 0;
};

}  // namespace rdzv
