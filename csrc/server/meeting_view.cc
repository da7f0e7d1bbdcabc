#include "server/meeting_view.h"

#include <algorithm>

namespace rdzv {

template <typename IsMissing>
const std::vector<int64_t>* MeetingView::look(Bytes key, const Table& table, int64_t round,
                                              int64_t world_size, int64_t first,
                                              IsMissing&& is_missing) {
  constexpr size_t kViewsMax = 256;
  auto found = views_.find(key);
  if (found == views_.end()) {
    if (views_.size() >= kViewsMax) views_.clear();
    found = views_.emplace(std::string(key), View{}).first;
  }
  View& view = found->second;
  if (view.round != round || view.world_size != world_size || view.losses != table.losses())
    view = View{table.version(), table.losses(), round, world_size, first, {}};
  const auto has_come = [&](int64_t rank) {
    budget_.spend(Budget::kSlot);
    return !is_missing(table.find(exchange_slot(key, rank)));
  };
  if (view.version != table.version()) std::erase_if(view.missing, has_come);
  view.version = table.version();
  for (; view.next < world_size && view.missing.size() < kMissingMax; ++view.next) {
    if (budget_.is_spent()) return nullptr;
    if (!has_come(view.next)) view.missing.push_back(view.next);
  }
  return &view.missing;
}

const std::vector<int64_t>* MeetingView::missing(const BarrierCall& call, const Table& table) {
  static const std::vector<int64_t> kNobody;
  if (!call.has_rank()) return &kNobody;
  return look(call.key, table, call.round, call.world_size, 0, [&](const Table::Value* slot) {
    return slot == nullptr || round_in(slot->bytes) < call.round;
  });
}

const std::vector<int64_t>* MeetingView::missing(Bytes key, int64_t world_size, const Table& table,
                                                 const Exchanges& exchanges) {
  return look(key, table, 0, world_size, exchanges.come(key, world_size),
              [](const Table::Value* slot) { return slot == nullptr; });
}

}  // namespace rdzv
