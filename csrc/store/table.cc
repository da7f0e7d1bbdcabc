#include "store/table.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace rdzv {
namespace {

bool parse_number(Bytes text, int64_t& number) {
  const char* end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && rest == end;
}

}  // namespace

TableView::TableView(HashSeed seed)
    : values_(0, BytesHash{seed}),
      queues_(0, BytesHash{seed}),
      wait_lists_(0, BytesHash{seed}),
      absent_marks_(0, BytesHash{seed}) {}

const Table::Value* TableView::find(Bytes key) const {
  auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

bool TableView::is_met(Bytes key, Need need, int64_t target) const {
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
    case Need::kChange:
      return version_of(key) != static_cast<uint64_t>(target);
    case Need::kUnder: {
      const auto position = static_cast<uint64_t>(target);
      return feeds_.position(key) != position || !feeds_.knows(key, position);
    }
  }
  return false;
}

uint64_t TableView::version_of(Bytes key) const {
  const Value* value = find(key);
  return value == nullptr ? 0 : value->version;
}

bool TableView::has_all(const std::vector<Bytes>& keys, Need need) const {
  return std::all_of(keys.begin(), keys.end(), [&](Bytes key) { return is_met(key, need, 0); });
}

uint64_t Table::write(Bytes key, Bytes value) {
  auto found = values_.find(key);
  if (found == values_.end()) found = insert(key);
  return write(found->second, value);
}

Table::Values::iterator Table::insert(Bytes key) {
  auto inserted = values_.emplace(std::string(key), Value{}).first;
  names_.add(inserted->first);
  bytes_ += kKeyBytes + key.size();
  hit_absent(key);
  return inserted;
}

uint64_t Table::write(Value& value, Bytes bytes) {
  bytes_ += bytes.size() - value.bytes.size();
  if (offered_ != nullptr && bytes.data() == offered_->data() && bytes.size() == offered_->size()) {
    value.bytes.adopt(std::move(*offered_));
  } else {
    value.bytes.assign(bytes);
  }
  value.version = ++version_;
  hit(value);
  return version_;
}

uint64_t Table::set(Bytes key, Bytes value) {
  uint64_t version = write(key, value);
  make_permanent(key);
  wake(key);
  return version;
}

uint64_t Table::set_for(Bytes key, Bytes value, Instant expires_at) {
  uint64_t version = write(key, value);
  expiries_.set(key, expires_at);
  wake(key);
  return version;
}

uint64_t Table::append(Bytes key, Bytes value) {
  auto found = values_.find(key);
  if (found == values_.end()) return set(key, value);
  bytes_ += value.size();
  found->second.bytes.append(value);
  hit(found->second);
  uint64_t version = found->second.version = ++version_;
  wake(key);  // a number may be large enough now
  return version;
}

void Table::multi_set(const std::vector<Bytes>& pairs) {
  for (size_t i = 0; i + 1 < pairs.size(); i += 2) {
    write(pairs[i], pairs[i + 1]);
    make_permanent(pairs[i]);
  }
  for (size_t i = 0; i + 1 < pairs.size(); i += 2) wake(pairs[i]);
}

Table::CompareSet Table::compare_set(Bytes key, Bytes expected, Bytes desired) {
  const Value* current = find(key);
  if (current == nullptr ? !expected.empty() : current->bytes != expected) return {false, current};
  set(key, desired);
  return {true, find(key)};
}

Table::VersionSet Table::set_if_version(Bytes key, Bytes value, uint64_t version) {
  uint64_t current = version_of(key);
  if (current != version) return {false, current};
  return {true, set(key, value)};
}

Table::Add TableView::sum(Bytes key, int64_t amount) const {
  return sum(find(key), amount);
}

Table::Add TableView::sum(const Value* current, int64_t amount) {
  int64_t value = 0;
  if (current != nullptr && !parse_number(current->bytes, value))
    return {AddStatus::kNotANumber, 0, 0};
  if (__builtin_add_overflow(value, amount, &value)) return {AddStatus::kOverflow, 0, 0};
  return {AddStatus::kOk, value, 0};
}

Table::Add Table::add(Bytes key, int64_t amount) {
  auto found = values_.find(key);
  bool is_new = found == values_.end();
  Add result = sum(is_new ? nullptr : &found->second, amount);
  if (result.status != AddStatus::kOk) return result;
  char text[24];
  char* end = std::to_chars(text, text + sizeof(text), result.value).ptr;
  Bytes decimal(text, static_cast<size_t>(end - text));
  result.version = is_new ? write(key, decimal) : write(found->second, decimal);
  wake(key);
  return result;
}

bool Table::erase(Bytes key) {
  auto found = values_.find(key);
  if (found == values_.end()) return false;
  erase(found);
  return true;
}

void Table::erase(Values::iterator found) {
  ++losses_;
  names_.remove(found->first);
  auto erased = values_.extract(found);
  hit(erased.mapped());
  bytes_ -= kKeyBytes + erased.key().size() + erased.mapped().bytes.size();
  make_permanent(erased.key());
  wake_erased(erased.key());
  note_change(erased.key());
}

size_t Table::erase_walked(PrefixWalk& walk, size_t max, uint64_t version) {
  std::vector<Values::iterator> found;
  this->walk(walk, max, [&](Bytes key) {
    auto value = values_.find(key);
    if (value->second.version <= version) found.push_back(value);
  });
  for (auto value : found) erase(value);
  return found.size();
}

size_t Table::erase_prefix(Bytes prefix) {
  PrefixWalk walk(prefix);
  return erase_walked(walk, SIZE_MAX, version_);
}

void TableView::index_names() {
  if (names_.is_kept()) return;
  names_.keep();
  for_each_key([this](Bytes key) { names_.add(key); });
}

size_t Table::expire(Instant now, size_t max) {
  size_t expired = 0;
  for (; expired < max && !expiries_.empty() && *expiries_.next() <= now; ++expired)
    erase(values_.find(*expiries_.next_key()));
  return expired;
}

std::optional<Instant> TableView::expiry(Bytes key) const {
  return expiries_.empty() ? std::nullopt : expiries_.find(key);
}

bool Table::push(Bytes key, Bytes item) {
  queue(key).emplace_back(item);
  return wake_for_item(key, item);
}

bool Table::unpop(Bytes key, Bytes item) {
  queue(key).emplace_front(item);
  return wake_for_item(key, item);
}

bool Table::wake_for_item(Bytes key, Bytes item) {
  bytes_ += kItemBytes + item.size();
  const size_t woken_before = woken_.size();
  wake_queue(key);
  // Who takes is woken first.
  return woken_.size() > woken_before && woken_[woken_before].item.has_value();
}

std::deque<std::string>& Table::queue(Bytes key) {
  auto found = queues_.find(key);
  if (found == queues_.end()) {
    found = queues_.try_emplace(std::string(key)).first;
    hit_absent(key);
    bytes_ += kQueueBytes + key.size();
  }
  return found->second;
}

std::optional<std::string> TableView::take_item(Bytes key) {
  auto found = queues_.find(key);
  if (found == queues_.end()) return std::nullopt;
  std::string item = std::move(found->second.front());
  found->second.pop_front();
  bytes_ -= kItemBytes + item.size();
  if (found->second.empty()) {
    bytes_ -= kQueueBytes + found->first.size();
    queues_.erase(found);
    ++losses_;
    hit_absent(key);
  }
  return item;
}

const std::string* TableView::front(Bytes key) const {
  auto found = queues_.find(key);
  return found == queues_.end() ? nullptr : &found->second.front();
}

size_t TableView::queue_size(Bytes key) const {
  auto found = queues_.find(key);
  return found == queues_.end() ? 0 : found->second.size();
}

void Table::restore(Bytes key, Bytes value, uint64_t version, std::optional<Instant> expires_at) {
  auto found = values_.find(key);
  if (found == values_.end()) found = insert(key);
  bytes_ += value.size() - found->second.bytes.size();
  found->second = Value{ValueBytes(value), version};
  if (expires_at) {
    expiries_.set(key, *expires_at);
  } else {
    make_permanent(key);
  }
  restore_version(version);
}

void Table::restore_version(uint64_t version) {
  version_ = std::max(version_, version);
}

}  // namespace rdzv
