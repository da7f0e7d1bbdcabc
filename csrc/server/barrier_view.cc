#include "server/barrier_view.h"

namespace rdzv {

const std::vector<int64_t>& BarrierView::missing(const BarrierCall& call, const Table& table) {
  constexpr size_t kViewsMax = 256;
  constexpr size_t kRanksMax = 256 * 1024;
  static const std::vector<int64_t> kNobody;
  if (!call.has_rank()) return kNobody;
  const Table::Value* count = table.find(call.key);
  uint64_t version = count == nullptr ? 0 : count->version;
  if (auto found = views_.find(std::string(call.key)); found != views_.end()) {
    View& view = found->second;
    if (view.count_version == version && view.round == call.round) return view.missing;
    ranks_ -= view.missing.size();
    views_.erase(found);
  }
  if (views_.size() >= kViewsMax || ranks_ > kRanksMax) {
    views_.clear();
    ranks_ = 0;
  }
  View& view = views_[std::string(call.key)];
  view = {version, call.round, missing_ranks(call, table)};
  ranks_ += view.missing.size();
  return view.missing;
}

}  // namespace rdzv
