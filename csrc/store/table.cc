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

bool Table::has_all(const std::vector<Bytes>& keys) const {
  for (Bytes key : keys) {
    if (values_.find(key) == values_.end()) return false;
  }
  return true;
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
  return found->second.version = ++version_;
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

void Table::restore(Bytes key, Bytes value, uint64_t version) {
  values_.insert_or_assign(std::string(key), Value{std::string(value), version});
  restore_version(version);
}

void Table::restore_version(uint64_t version) {
  version_ = std::max(version_, version);
}

Table::Waiter* Table::wait(WaiterOwner& owner, uint64_t tag, const std::vector<Bytes>& keys) {
  if (has_all(keys)) return nullptr;
  auto created = std::make_unique<Waiter>();
  Waiter& waiter = *created;
  waiter.owner = &owner;
  waiter.tag = tag;
  waiter.keys.assign(keys.begin(), keys.end());
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
    if (find(waiter.keys[at]) == nullptr) {
      waiter.parked_at = at;
      return &waiter.keys[at];
    }
  }
  return nullptr;
}

void Table::park(Waiter& waiter, Bytes key) {
  auto found = wait_lists_.find(key);
  if (found == wait_lists_.end()) found = wait_lists_.emplace(std::string(key), WaitList{}).first;
  WaitList& list = found->second;
  waiter.list = &list;
  waiter.next_of_key = nullptr;
  waiter.previous_of_key = list.last;
  (list.last != nullptr ? list.last->next_of_key : list.first) = &waiter;
  list.last = &waiter;
}

void Table::unpark(Waiter& waiter) {
  WaitList& list = *waiter.list;
  (waiter.previous_of_key != nullptr ? waiter.previous_of_key->next_of_key : list.first) =
      waiter.next_of_key;
  (waiter.next_of_key != nullptr ? waiter.next_of_key->previous_of_key : list.last) =
      waiter.previous_of_key;
  if (list.first == nullptr) wait_lists_.erase(wait_lists_.find(waiter.keys[waiter.parked_at]));
}

void Table::wake(Bytes key) {
  auto found = wait_lists_.find(key);
  if (found == wait_lists_.end()) return;
  Waiter* waiter = found->second.first;
  wait_lists_.erase(found);  // nobody waits for a key that is there
  while (waiter != nullptr) {
    Waiter* next = waiter->next_of_key;
    if (const std::string* missing = missing_key(*waiter)) {
      park(*waiter, *missing);
    } else {
      woken_.push_back({waiter->owner, waiter->tag, std::move(waiter->keys)});
      destroy(*waiter);
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
  unpark(*waiter);
  destroy(*waiter);
}

std::vector<Bytes> Table::missing_keys(const Waiter& waiter) const {
  std::vector<Bytes> missing;
  for (const std::string& key : waiter.keys) {
    if (find(key) == nullptr) missing.push_back(key);
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
