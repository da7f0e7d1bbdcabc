// Who waits for what in a Table: parking, waking, dropping. The keys and values are table.cc's.
#include <algorithm>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "store/table.h"

namespace rdzv {

// A waiter is parked on one key that is missing; when that comes, it moves to the next missing one,
// if any. So it costs one list entry however many keys it waits for, and it wakes only when all are
// there at the same time.
struct Table::Waiter {
  WaiterOwner* owner = nullptr;
  uint64_t tag = 0;
  std::vector<std::string> keys;
  size_t parked_at = 0;  // index into keys
  Need need = Need::kPresent;
  int64_t target = 0;

  Waiter* next_of_key = nullptr;
  Waiter* previous_of_key = nullptr;
  WaitList* list = nullptr;
  std::unique_ptr<Waiter> next_of_owner;
  Waiter* previous_of_owner = nullptr;
};

Table::WaiterOwner::WaiterOwner() = default;

Table::WaiterOwner::~WaiterOwner() {
  RDZV_CHECK(first_ == nullptr, "an owner is dropped before it goes");
}

Table::~Table() {
  RDZV_CHECK(waiter_count_ == 0, "a table outlives its waiters");
}

Table::Waiter* Table::wait(WaiterOwner& owner, uint64_t tag, const std::vector<Bytes>& keys,
                           Need need, int64_t target) {
  auto met = [&](Bytes key) { return is_met(key, need, target); };
  auto missing = std::find_if_not(keys.begin(), keys.end(), met);
  if (missing == keys.end()) return nullptr;
  auto created = std::make_unique<Waiter>();
  Waiter& waiter = *created;
  waiter.owner = &owner;
  waiter.tag = tag;
  waiter.keys.assign(keys.begin(), keys.end());
  waiter.parked_at = static_cast<size_t>(missing - keys.begin());
  waiter.need = need;
  waiter.target = target;
  if (owner.first_ != nullptr) owner.first_->previous_of_owner = &waiter;
  waiter.next_of_owner = std::exchange(owner.first_, std::move(created));
  ++owner.count_;
  ++waiter_count_;
  park(waiter, *missing);
  return &waiter;
}

const std::string* Table::missing_key(Waiter& waiter) const {
  size_t count = waiter.keys.size();
  for (size_t step = 0; step < count; ++step) {
    size_t at = (waiter.parked_at + step) % count;
    if (!is_met(waiter.keys[at], waiter.need, waiter.target)) {
      waiter.parked_at = at;
      return &waiter.keys[at];
    }
  }
  return nullptr;
}

void Table::park(Waiter& waiter, Bytes key) {
  auto found = wait_lists_.find(key);
  if (found == wait_lists_.end()) found = wait_lists_.emplace(std::string(key), WaitLists{}).first;
  WaitList& list = found->second[static_cast<size_t>(waiter.need)];
  // By target, so that a count that is not enough for the first is enough for nobody. All others
  // have one target (those who wait for a change: the version that the key has), and stand in order
  // of arrival.
  Waiter* before = list.last;
  while (before != nullptr && before->target > waiter.target) before = before->previous_of_key;
  Waiter* behind = before != nullptr ? before->next_of_key : list.first;
  waiter.list = &list;
  waiter.previous_of_key = before;
  waiter.next_of_key = behind;
  (before != nullptr ? before->next_of_key : list.first) = &waiter;
  (behind != nullptr ? behind->previous_of_key : list.last) = &waiter;
}

// Takes the waiter out of its key's list. drop_if_empty() is the caller's to call.
void Table::unlink(Waiter& waiter) {
  WaitList& list = *waiter.list;
  (waiter.previous_of_key != nullptr ? waiter.previous_of_key->next_of_key : list.first) =
      waiter.next_of_key;
  (waiter.next_of_key != nullptr ? waiter.next_of_key->previous_of_key : list.last) =
      waiter.previous_of_key;
}

void Table::drop_if_empty(Bytes key) {
  auto found = wait_lists_.find(key);
  if (found == wait_lists_.end()) return;
  auto is_empty = [](const WaitList& list) { return list.first == nullptr; };
  if (std::all_of(found->second.begin(), found->second.end(), is_empty)) wait_lists_.erase(found);
}

void Table::wake_written(Bytes key) {
  auto found = wait_lists_.find(key);
  if (found == wait_lists_.end()) return;
  for (Need need : {Need::kPresent, Need::kTurn, Need::kValue, Need::kCount, Need::kChange}) {
    wake_list(key, found->second, need, SIZE_MAX);
  }
  drop_if_empty(key);
}

void Table::wake_erased(Bytes key) {
  if (wait_lists_.empty()) return;
  auto found = wait_lists_.find(key);
  if (found == wait_lists_.end()) return;
  wake_list(key, found->second, Need::kChange, SIZE_MAX);
  drop_if_empty(key);
}

// Wakes those whose need is met at all their keys, moves on those who miss another key, and stops
// at the first who still misses this one: those behind do, too.
void Table::wake_list(Bytes key, WaitLists& lists, Need need, size_t woken_max) {
  Waiter* waiter = lists[static_cast<size_t>(need)].first;
  for (size_t woken = 0; waiter != nullptr && woken < woken_max;) {
    Waiter* next = waiter->next_of_key;
    const std::string* missing = missing_key(*waiter);
    if (missing != nullptr && Bytes(*missing) == key) return;
    unlink(*waiter);
    if (missing != nullptr) {
      park(*waiter, *missing);
    } else {
      Woken entry{waiter->owner, waiter->tag, std::move(waiter->keys), std::nullopt};
      if (need == Need::kItem) entry.item = pop(key);
      woken_.push_back(std::move(entry));
      destroy(*waiter);
      ++woken;
    }
    waiter = next;
  }
}

void Table::destroy(Waiter& waiter) {
  WaiterOwner& owner = *waiter.owner;
  Waiter* previous = waiter.previous_of_owner;
  std::unique_ptr<Waiter>& slot = previous != nullptr ? previous->next_of_owner : owner.first_;
  std::unique_ptr<Waiter> destroyed = std::move(slot);
  slot = std::move(destroyed->next_of_owner);
  if (slot != nullptr) slot->previous_of_owner = previous;
  --owner.count_;
  --waiter_count_;
}

void Table::cancel(Waiter* waiter) {
  std::string key = std::move(waiter->keys[waiter->parked_at]);
  unlink(*waiter);
  destroy(*waiter);
  drop_if_empty(key);
}

std::vector<Bytes> Table::missing_keys(const Waiter& waiter) const {
  std::vector<Bytes> missing;
  for (const std::string& key : waiter.keys) {
    if (!is_met(key, waiter.need, waiter.target)) missing.push_back(key);
  }
  return missing;
}

void Table::drop(WaiterOwner& owner) {
  while (owner.first_ != nullptr) cancel(owner.first_.get());
}

void Table::drop_if(const std::function<bool(WaiterOwner&)>& is_gone) {
  std::unordered_set<WaiterOwner*> gone;
  for (const auto& [key, lists] : wait_lists_) {
    for (const WaitList& list : lists) {
      for (Waiter* waiter = list.first; waiter != nullptr; waiter = waiter->next_of_key) {
        if (is_gone(*waiter->owner)) gone.insert(waiter->owner);
      }
    }
  }
  for (WaiterOwner* owner : gone) drop(*owner);
}

std::vector<Table::Woken> Table::take_woken() {
  return std::exchange(woken_, {});
}

void Table::pass_turn(Bytes key) {
  auto lists = wait_lists_.find(key);
  if (lists == wait_lists_.end()) return;
  wake_list(key, lists->second, Need::kTurn, 1);
  drop_if_empty(key);
}

void Table::wake_queue(Bytes key) {
  if (wait_lists_.empty()) return;
  auto lists = wait_lists_.find(key);
  if (lists == wait_lists_.end()) return;
  wake_list(key, lists->second, Need::kItem, SIZE_MAX);
  wake_list(key, lists->second, Need::kQueue, SIZE_MAX);
  wake_list(key, lists->second, Need::kPresent, SIZE_MAX);
  wake_list(key, lists->second, Need::kTurn, 1);
  drop_if_empty(key);
}

}  // namespace rdzv
