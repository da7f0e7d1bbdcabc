// Waiters of a Table who were woken together with very many: they are taken in parts.
#include <utility>

#include "store/table_waiter.h"

namespace rdzv {

void TableView::leave_for_later(Bytes key, Need need, ListOfNeed list, bool is_group) {
  const Value* value = find(key);
  auto moment = std::make_shared<Moment>();
  if (value != nullptr) *moment = {value->bytes, value->version};
  Ripe& ripe = ripe_.emplace_back(
      Ripe{std::string(key), need, is_group, std::move(moment), std::move(list)});
  ripe.list->ripe = &ripe;
}

TableView::Woken TableView::woken(Waiter& waiter, const Ripe* ripe) {
  Woken entry{waiter.owner, waiter.tag, std::move(waiter.keys), std::nullopt, nullptr};
  if (ripe != nullptr && entry.keys->size() == 1) entry.moment = ripe->moment;
  return entry;
}

// Of those who were left for later the one whose turn it is.
void TableView::wake_first(Ripe& ripe) {
  Waiter& waiter = *ripe.list->first;
  const bool is_settled = ripe.is_group || waiter.keys->size() == 1;
  const Bytes* missing = is_settled ? nullptr : missing_key(waiter);
  if (missing != nullptr) {
    unlink(waiter);
    park(waiter, *missing);
    return;
  }
  // The first of a group that is found met is woken with all the others.
  if (!ripe.is_group && waiter.next_of_group != nullptr) {
    unlink(waiter);
    wake_group(waiter, ripe.key);
    return;
  }
  leave_group(waiter);
  woken_.push_back(woken(waiter, &ripe));
  destroy(waiter);
}

std::optional<TableView::Woken> TableView::take_ripe(Waiter* waiter) {
  const Ripe* ripe = nullptr;
  if (waiter->previous_of_group == nullptr) {
    ripe = waiter->list->ripe;
    if (ripe == nullptr || (!ripe->is_group && waiter->keys->size() > 1)) return std::nullopt;
  } else if (leaders_.contains({waiter->keys.get(), waiter->need})) {
    return std::nullopt;
  }
  leave_group(*waiter);
  Woken entry = woken(*waiter, ripe);
  destroy(*waiter);
  return entry;
}

std::vector<TableView::Woken> TableView::take_woken(size_t max) {
  walked_ = 0;
  for (size_t step = 0; step < max && !ripe_.empty();) {
    Ripe& ripe = ripe_.front();
    if (ripe.list->first == nullptr) {
      ripe_.pop_front();
    } else {
      wake_first(ripe);
      ++step;
    }
  }
  return std::exchange(woken_, {});
}

}  // namespace rdzv
