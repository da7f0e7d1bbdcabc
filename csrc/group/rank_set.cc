#include "group/rank_set.h"

#include <iterator>

namespace rdzv {

RankSet::Ranges::const_iterator RankSet::range_of(uint32_t rank) const {
  auto behind = ranges_.upper_bound(rank);
  if (behind == ranges_.begin()) return ranges_.end();
  const auto range = std::prev(behind);
  return rank < range->second ? range : ranges_.end();
}

bool RankSet::contains(uint32_t rank) const {
  return range_of(rank) != ranges_.end();
}

bool RankSet::erase(uint32_t rank) {
  const auto range = range_of(rank);
  if (range == ranges_.end()) return false;
  const auto [begin, end] = *range;
  ranges_.erase(range);
  if (begin < rank) ranges_.emplace(begin, rank);
  if (rank + 1 < end) ranges_.emplace(rank + 1, end);
  --size_;
  return true;
}

}  // namespace rdzv
