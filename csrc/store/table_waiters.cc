// Who waits for what in a Table: parking, waking, dropping. The keys and values are table.cc's.
#include <algorithm>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "store/table_waiter.h"

namespace rdzv {

TableView::WaiterOwner::WaiterOwner(MemoryAccount* account) : account_(account) {}

TableView::WaiterOwner::~WaiterOwner() {
  RDZV_CHECK(first_ == nullptr, "an owner is dropped before it is destroyed");
}

TableView::~TableView() {
  RDZV_CHECK(waiter_count_ == 0, "a table outlives its waiters");
}

TableView::Waiter* TableView::wait(WaiterOwner& owner, uint64_t tag, const std::vector<Bytes>& keys,
                                   Need need, int64_t target) {
  auto met = [&](Bytes key) { return is_met(key, need, target); };
  auto missing = std::find_if_not(keys.begin(), keys.end(), met);
  if (missing == keys.end()) return nullptr;
  Waiter* waiter = add_waiter(owner, tag, std::make_shared<WantedKeys>(keys), need, target);
  waiter->charge_keys();
  waiter->parked_at = static_cast<size_t>(missing - keys.begin());
  park(*waiter, *missing);
  return waiter;
}

TableView::Waiter* TableView::wait(WaiterOwner& owner, uint64_t tag, const SharedKeys& keys,
                                   Need need, size_t first) {
  constexpr int64_t kNoTarget = 0;
  auto leader = leaders_.find({keys.get(), need});
  if (leader != leaders_.end()) {
    Waiter* waiter = add_waiter(owner, tag, keys, need, kNoTarget);
    join_group(*waiter, *leader->second);
    return waiter;
  }
  auto met = [&](Bytes key) { return is_met(key, need, kNoTarget); };
  auto missing = std::find_if_not(keys->begin() + static_cast<ptrdiff_t>(first), keys->end(), met);
  if (missing == keys->end()) return nullptr;
  Waiter* waiter = add_waiter(owner, tag, keys, need, kNoTarget);
  waiter->leads = true;
  waiter->charge_keys();
  waiter->last_of_group = waiter;
  waiter->parked_at = static_cast<size_t>(missing - keys->begin());
  leaders_.emplace(std::pair(keys.get(), need), waiter);
  park(*waiter, *missing);
  return waiter;
}

bool TableView::is_awaited(const SharedKeys& keys, Need need) const {
  return leaders_.contains({keys.get(), need});
}

TableView::Waiter* TableView::add_waiter(WaiterOwner& owner, uint64_t tag, SharedKeys keys,
                                         Need need, int64_t target) {
  auto created = std::make_unique<Waiter>();
  Waiter& waiter = *created;
  waiter.owner = &owner;
  waiter.tag = tag;
  waiter.keys = std::move(keys);
  waiter.need = need;
  waiter.target = target;
  waiter.charge = Charge(owner.account_, Waiter::kWaiterBytes);
  if (owner.first_ != nullptr) owner.first_->previous_of_owner = &waiter;
  waiter.next_of_owner = std::exchange(owner.first_, std::move(created));
  ++owner.count_;
  ++waiter_count_;
  return &waiter;
}

void TableView::join_group(Waiter& waiter, Waiter& leader) {
  waiter.previous_of_group = leader.last_of_group;
  leader.last_of_group->next_of_group = &waiter;
  leader.last_of_group = &waiter;
}

// A leader's place in its key's line goes to the next; without one it is given up.
void TableView::leave_group(Waiter& waiter) {
  Waiter* next = waiter.next_of_group;
  if (waiter.previous_of_group != nullptr) {
    Waiter* previous = waiter.previous_of_group;
    previous->next_of_group = next;
    if (next != nullptr) {
      next->previous_of_group = previous;
    } else {
      // Of a group that is about to be woken nobody asks for the last one.
      auto leader = leaders_.find({waiter.keys.get(), waiter.need});
      if (leader != leaders_.end() && leader->second->last_of_group == &waiter)
        leader->second->last_of_group = previous;
    }
    return;
  }
  if (next == nullptr) {
    unlink(waiter);
    if (waiter.leads) leaders_.erase({waiter.keys.get(), waiter.need});
    return;
  }
  next->previous_of_group = nullptr;
  next->leads = waiter.leads;
  if (next->leads) next->charge_keys();
  next->parked_at = waiter.parked_at;
  next->list = waiter.list;
  next->last_of_group = waiter.last_of_group;
  next->next_of_key = waiter.next_of_key;
  next->previous_of_key = waiter.previous_of_key;
  WaitList& list = *waiter.list;
  (next->previous_of_key != nullptr ? next->previous_of_key->next_of_key : list.first) = next;
  (next->next_of_key != nullptr ? next->next_of_key->previous_of_key : list.last) = next;
  if (next->leads) leaders_.find({waiter.keys.get(), waiter.need})->second = next;
}

const Bytes* TableView::missing_key(Waiter& waiter) const {
  const std::vector<Bytes>& keys = waiter.keys->all();
  for (size_t step = 0; step < keys.size(); ++step) {
    size_t at = (waiter.parked_at + step) % keys.size();
    if (!is_met(keys[at], waiter.need, waiter.target)) {
      waiter.parked_at = at;
      return &keys[at];
    }
  }
  return nullptr;
}

void TableView::park(Waiter& waiter, Bytes key) {
  auto found = wait_lists_.find(key);
  if (found == wait_lists_.end()) found = wait_lists_.emplace(std::string(key), WaitLists{}).first;
  ListOfNeed& of_need = found->second.of(waiter.need, waiter.target);
  if (of_need == nullptr) of_need = std::make_unique<WaitList>();
  WaitList& list = *of_need;
  waiter.list = &list;
  waiter.previous_of_key = list.last;
  waiter.next_of_key = nullptr;
  (list.last != nullptr ? list.last->next_of_key : list.first) = &waiter;
  list.last = &waiter;
}

// Takes the waiter out of its key's list. drop_if_empty() is the caller's to call.
void TableView::unlink(Waiter& waiter) {
  WaitList& list = *waiter.list;
  (waiter.previous_of_key != nullptr ? waiter.previous_of_key->next_of_key : list.first) =
      waiter.next_of_key;
  (waiter.next_of_key != nullptr ? waiter.next_of_key->previous_of_key : list.last) =
      waiter.previous_of_key;
}

void TableView::drop_if_empty(Bytes key) {
  auto found = wait_lists_.find(key);
  if (found == wait_lists_.end() || !found->second.counts.empty()) return;
  auto is_empty = [](const ListOfNeed& list) { return list == nullptr || list->first == nullptr; };
  const auto& lists = found->second.by_need;
  if (std::all_of(lists.begin(), lists.end(), is_empty)) wait_lists_.erase(found);
}

void TableView::wake_written(Bytes key) {
  auto found = wait_lists_.find(key);
  if (found == wait_lists_.end()) return;
  WaitLists& lists = found->second;
  for (Need need : {Need::kPresent, Need::kTurn, Need::kValue}) wake_need(key, lists, need);
  wake_counts(key, lists);
  wake_need(key, lists, Need::kChange);
  drop_if_empty(key);
}

void TableView::wake_erased(Bytes key) {
  if (wait_lists_.empty()) return;
  auto found = wait_lists_.find(key);
  if (found == wait_lists_.end()) return;
  wake_need(key, found->second, Need::kChange);
  drop_if_empty(key);
}

bool TableView::keep_feed(Bytes prefix) {
  return feeds_.keep(prefix, [this](Bytes kept) { return is_watched(kept); });
}

void TableView::end_idle_feeds() {
  feeds_.end_idle([this](Bytes kept) { return is_watched(kept); });
}

bool TableView::is_watched(Bytes prefix) const {
  const auto lists = wait_lists_.find(prefix);
  if (lists == wait_lists_.end()) return false;
  const ListOfNeed& list = lists->second.by_need[static_cast<size_t>(Need::kUnder)];
  return list != nullptr && list->first != nullptr;
}

void TableView::wake_watching(Bytes key) {
  feeds_.note(key, [this](Bytes prefix) {
    const auto found = wait_lists_.find(prefix);
    if (found == wait_lists_.end()) return;
    wake_need(prefix, found->second, Need::kUnder);
    drop_if_empty(prefix);
  });
}

void TableView::wake_need(Bytes key, WaitLists& lists, Need need, size_t woken_max) {
  wake_list(key, lists.by_need[static_cast<size_t>(need)], woken_max);
}

void TableView::wake_counts(Bytes key, WaitLists& lists) {
  while (!lists.counts.empty()) {
    auto lowest = lists.counts.begin();
    if (!wake_list(key, lowest->second)) return;
    lists.counts.erase(lowest);
  }
}

// Wakes those whose need is met at all their keys, moves on those who miss another key, and stops
// at the first who still misses this one: those behind do, too. False then. If there are very many,
// the others are left for later.
bool TableView::wake_list(Bytes key, ListOfNeed& list, size_t woken_max) {
  if (list == nullptr) return true;
  Waiter* waiter = list->first;
  for (size_t woken = 0; waiter != nullptr && woken < woken_max;) {
    Waiter* next = waiter->next_of_key;
    const Need need = waiter->need;
    const size_t keys = waiter->keys->size();
    const bool is_much = keys > kLookedAtOnce;
    const Bytes* missing = is_much ? nullptr : missing_key(*waiter);
    if (missing != nullptr && *missing == key) return false;
    walked_ += keys / kKeysAStep;
    // Whoever takes something is woken while it is there.
    if ((is_much || is_enough_at_once()) && need != Need::kItem && woken_max == SIZE_MAX) {
      leave_for_later(key, need, std::move(list), false);
      return true;
    }
    unlink(*waiter);
    if (missing != nullptr) {
      park(*waiter, *missing);
      ++walked_;
    } else {
      wake_group(*waiter, key);
      ++woken;
    }
    waiter = next;
  }
  return true;
}

// All who wait for what the leader waits for. It stands in no line any more.
void TableView::wake_group(Waiter& leader, Bytes key) {
  if (leader.leads) leaders_.erase({leader.keys.get(), leader.need});
  for (Waiter* waiter = &leader; waiter != nullptr;) {
    if (waiter != &leader && is_enough_at_once()) {
      auto list = std::make_unique<WaitList>();
      list->first = list->last = waiter;
      waiter->previous_of_group = waiter->next_of_key = waiter->previous_of_key = nullptr;
      waiter->list = list.get();
      leave_for_later(key, waiter->need, std::move(list), true);
      return;
    }
    Woken entry = woken(*waiter, nullptr);
    if (waiter->need == Need::kItem) entry.item = take_item(key);
    woken_.push_back(std::move(entry));
    Waiter* next = waiter->next_of_group;
    destroy(*waiter);
    waiter = next;
  }
}

void TableView::destroy(Waiter& waiter) {
  WaiterOwner& owner = *waiter.owner;
  Waiter* previous = waiter.previous_of_owner;
  std::unique_ptr<Waiter>& slot = previous != nullptr ? previous->next_of_owner : owner.first_;
  std::unique_ptr<Waiter> destroyed = std::move(slot);
  slot = std::move(destroyed->next_of_owner);
  if (slot != nullptr) slot->previous_of_owner = previous;
  --owner.count_;
  --waiter_count_;
}

void TableView::cancel(Waiter* waiter) {
  // Nobody stands in the key's line for a follower.
  bool parked = waiter->previous_of_group == nullptr;
  SharedKeys keys = waiter->keys;
  Bytes key = (*keys)[waiter->parked_at];
  leave_group(*waiter);
  if (parked) drop_list_if_empty(*waiter, key);
  destroy(*waiter);
}

void TableView::drop_list_if_empty(Waiter& waiter, Bytes key) {
  if (waiter.list->ripe != nullptr || waiter.list->first != nullptr) return;
  if (waiter.need == Need::kCount) wait_lists_.find(key)->second.counts.erase(waiter.target);
  drop_if_empty(key);
}

const SharedKeys& TableView::keys_of(const Waiter& waiter) const {
  return waiter.keys;
}

std::vector<Bytes> TableView::missing_keys(const Waiter& waiter) const {
  std::vector<Bytes> missing;
  for (Bytes key : *waiter.keys) {
    if (!is_met(key, waiter.need, waiter.target)) missing.push_back(key);
  }
  return missing;
}

std::vector<uint32_t> TableView::missing_positions(const Waiter& waiter) const {
  std::vector<uint32_t> missing;
  const WantedKeys& keys = *waiter.keys;
  for (size_t at = 0; at < keys.size(); ++at) {
    if (!is_met(keys[at], waiter.need, waiter.target)) missing.push_back(static_cast<uint32_t>(at));
  }
  return missing;
}

bool TableView::drop(WaiterOwner& owner, size_t max) {
  for (; owner.first_ != nullptr && max > 0; --max) cancel(owner.first_.get());
  return owner.first_ == nullptr;
}

void TableView::drop_if(const std::function<bool(WaiterOwner&)>& is_gone) {
  std::unordered_set<WaiterOwner*> gone;
  const auto look_at = [&](const ListOfNeed& list) {
    if (list == nullptr) return;
    for (Waiter* parked = list->first; parked != nullptr; parked = parked->next_of_key) {
      for (Waiter* waiter = parked; waiter != nullptr; waiter = waiter->next_of_group) {
        if (is_gone(*waiter->owner)) gone.insert(waiter->owner);
      }
    }
  };
  for (const auto& [key, lists] : wait_lists_) {
    for (const ListOfNeed& list : lists.by_need) look_at(list);
    for (const auto& [target, list] : lists.counts) look_at(list);
  }
  for (WaiterOwner* owner : gone) drop(*owner);
}

void TableView::pass_turn(Bytes key) {
  auto lists = wait_lists_.find(key);
  if (lists == wait_lists_.end()) return;
  wake_need(key, lists->second, Need::kTurn, 1);
  drop_if_empty(key);
}

void TableView::wake_queue(Bytes key) {
  if (wait_lists_.empty()) return;
  auto found = wait_lists_.find(key);
  if (found == wait_lists_.end()) return;
  WaitLists& lists = found->second;
  for (Need need : {Need::kItem, Need::kQueue, Need::kPresent}) wake_need(key, lists, need);
  wake_need(key, lists, Need::kTurn, 1);
  drop_if_empty(key);
}

}  // namespace rdzv
