#include "server/meeting_view.h"

#include <utility>

namespace rdzv {

template <typename Find>
const std::vector<int64_t>& MeetingView::look(Bytes key, View wanted, Find&& find) {
  constexpr size_t kViewsMax = 256;
  auto found = views_.find(key);
  if (found == views_.end()) {
    if (views_.size() >= kViewsMax) views_.clear();
    found = views_.emplace(std::string(key), View{}).first;
  } else if (found->second.is_of(wanted)) {
    return found->second.missing;
  }
  wanted.missing = find();
  bool is_whole = wanted.missing.size() < kMissingMax;
  int64_t looked_at = is_whole ? wanted.world_size : wanted.missing.back() + 1;
  budget_.spend(static_cast<size_t>(looked_at) * Budget::kKey);
  found->second = std::move(wanted);
  return found->second.missing;
}

const std::vector<int64_t>& MeetingView::missing(const BarrierCall& call, const Table& table) {
  static const std::vector<int64_t> kNobody;
  if (!call.has_rank()) return kNobody;
  const Table::Value* count = table.find(call.key);
  View wanted{count == nullptr ? 0 : count->version, 0, call.round, call.world_size, {}};
  return look(call.key, std::move(wanted), [&] { return missing_ranks(call, table); });
}

const std::vector<int64_t>& MeetingView::missing(Bytes key, int64_t world_size, const Table& table,
                                                 const Exchanges& exchanges) {
  return look(key, View{table.version(), table.size(), 0, world_size, {}}, [&] {
    return missing_ranks(key, world_size, table, kMissingMax, exchanges.come(key, world_size));
  });
}

}  // namespace rdzv
