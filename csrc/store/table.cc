#include "store/table.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/check.h"

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

namespace {

bool parse_number(Bytes text, int64_t& number) {
  const char* end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && rest == end;
}

}  // namespace

Table::WaiterOwner::WaiterOwner() = default;

Table::WaiterOwner::~WaiterOwner() {
  RDZV_CHECK(first_ == nullptr, "an owner is dropped before it goes");
}

Table::~Table() {
  RDZV_CHECK(waiter_count_ == 0, "a table outlives its waiters");
}

const Table::Value* Table::find(Bytes key) const {
  auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

bool Table::is_met(Bytes key, Need need, int64_t target) const {
  const Value* value = find(key);
  int64_t number = 0;
  switch (need) {
    case Need::kPresent:
    case Need::kTurn:
      return value != nullptr || queues_.find(key) != queues_.end();
    case Need::kValue:
      return value != nullptr;
    case Need::kQueue:
    case Need::kItem:
      return queues_.find(key) != queues_.end();
    case Need::kCount:
      return value != nullptr && parse_number(value->bytes, number) && number >= target;
  }
  return false;
}

bool Table::has_all(const std::vector<Bytes>& keys, Need need) const {
  return std::all_of(keys.begin(), keys.end(), [&](Bytes key) { return is_met(key, need, 0); });
}

uint64_t Table::write(Bytes key, Bytes value) {
  auto found = values_.find(key);
  if (found == values_.end()) found = values_.emplace(std::string(key), Value{}).first;
  found->second.bytes.assign(value);
  found->second.version = ++version_;
  return version_;
}

uint64_t Table::set(Bytes key, Bytes value) {
  uint64_t version = write(key, value);
  wake(key);
  return version;
}

uint64_t Table::append(Bytes key, Bytes value) {
  auto found = values_.find(key);
  if (found == values_.end()) return set(key, value);
  found->second.bytes.append(value);
  uint64_t version = found->second.version = ++version_;
  wake(key);  // a number may be large enough now
  return version;
}

void Table::multi_set(const std::vector<Bytes>& pairs) {
  for (size_t i = 0; i + 1 < pairs.size(); i += 2) write(pairs[i], pairs[i + 1]);
  for (size_t i = 0; i + 1 < pairs.size(); i += 2) wake(pairs[i]);
}

Table::CompareSet Table::compare_set(Bytes key, Bytes expected, Bytes desired) {
  const Value* current = find(key);
  if (current == nullptr ? !expected.empty() : current->bytes != expected) return {false, current};
  set(key, desired);
  return {true, find(key)};
}

Table::Add Table::sum(Bytes key, int64_t amount) const {
  const Value* current = find(key);
  int64_t value = 0;
  if (current != nullptr && !parse_number(current->bytes, value))
    return {AddStatus::kNotANumber, 0, 0};
  if (__builtin_add_overflow(value, amount, &value)) return {AddStatus::kOverflow, 0, 0};
  return {AddStatus::kOk, value, 0};
}

Table::Add Table::add(Bytes key, int64_t amount) {
  Add result = sum(key, amount);
  if (result.status != AddStatus::kOk) return result;
  char text[24];
  char* end = std::to_chars(text, text + sizeof(text), result.value).ptr;
  result.version = set(key, Bytes(text, static_cast<size_t>(end - text)));
  return result;
}

bool Table::erase(Bytes key) {
  auto found = values_.find(key);
  if (found == values_.end()) return false;
  values_.erase(found);
  return true;
}

void Table::push(Bytes key, Bytes item) {
  queue(key).emplace_back(item);
  wake_queue(key);
}

void Table::unpop(Bytes key, Bytes item) {
  queue(key).emplace_front(item);
  wake_queue(key);
}

void Table::pass_turn(Bytes key) {
  auto lists = wait_lists_.find(key);
  if (lists == wait_lists_.end()) return;
  wake_list(key, lists->second, Need::kTurn, 1);
  drop_if_empty(key);
}

std::deque<std::string>& Table::queue(Bytes key) {
  auto found = queues_.find(key);
  if (found == queues_.end()) found = queues_.emplace(std::string(key), 0).first;
  return found->second;
}

void Table::wake_queue(Bytes key) {
  auto lists = wait_lists_.find(key);
  if (lists == wait_lists_.end()) return;
  wake_list(key, lists->second, Need::kItem, SIZE_MAX);
  wake_list(key, lists->second, Need::kQueue, SIZE_MAX);
  wake_list(key, lists->second, Need::kPresent, SIZE_MAX);
  wake_list(key, lists->second, Need::kTurn, 1);
  drop_if_empty(key);
}

std::optional<std::string> Table::pop(Bytes key) {
  auto found = queues_.find(key);
  if (found == queues_.end()) return std::nullopt;
  std::string item = std::move(found->second.front());
  found->second.pop_front();
  if (found->second.empty()) queues_.erase(found);
  return item;
}

const std::string* Table::front(Bytes key) const {
  auto found = queues_.find(key);
  return found == queues_.end() ? nullptr : &found->second.front();
}

size_t Table::queue_size(Bytes key) const {
  auto found = queues_.find(key);
  return found == queues_.end() ? 0 : found->second.size();
}

void Table::restore(Bytes key, Bytes value, uint64_t version) {
  values_.insert_or_assign(std::string(key), Value{std::string(value), version});
  restore_version(version);
}

void Table::restore_version(uint64_t version) {
  version_ = std::max(version_, version);
}

Table::Waiter* Table::wait(WaiterOwner& owner, uint64_t tag, const std::vector<Bytes>& keys,
                           Need need, int64_t target) {
  auto met = [&](Bytes key) { return is_met(key, need, target); };
  if (std::all_of(keys.begin(), keys.end(), met)) return nullptr;
  auto created = std::make_unique<Waiter>();
  Waiter& waiter = *created;
  waiter.owner = &owner;
  waiter.tag = tag;
  waiter.keys.assign(keys.begin(), keys.end());
  waiter.need = need;
  waiter.target = target;
  if (owner.first_ != nullptr) owner.first_->previous_of_owner = &waiter;
  waiter.next_of_owner = std::exchange(owner.first_, std::move(created));
  ++owner.count_;
  ++waiter_count_;
  park(waiter, *missing_key(waiter));
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
  // have one target, and stand in order of arrival.
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

// After a write of the key's value.
void Table::wake(Bytes key) {
  auto found = wait_lists_.find(key);
  if (found == wait_lists_.end()) return;
  for (Need need : {Need::kPresent, Need::kTurn, Need::kValue, Need::kCount}) {
    wake_list(key, found->second, need, SIZE_MAX);
  }
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

std::vector<Table::Woken> Table::take_woken() {
  return std::exchange(woken_, {});
}

}  // namespace rdzv
