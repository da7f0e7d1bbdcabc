#include "server/answer_cache.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "wire/c10d.h"
#include "wire/limits.h"
#include "wire/native.h"

namespace rdzv {
namespace {

using Form = AnswerCache::Form;

constexpr size_t kNamesMax = 16;

void put_overhead(std::string& out, Form form, const Table::Value* value) {
  size_t size = value == nullptr ? 0 : value->bytes.size();
  if (form == Form::kC10d) {
    c10d::put_i64(out, static_cast<int64_t>(size));
    return;
  }
  if (form == Form::kNative) native::put_u64(out, value == nullptr ? 0 : value->version);
  native::put_u32(out, static_cast<uint32_t>(size));
}

void add_missing(AnswerCache::Missing& missing, size_t at, Bytes key) {
  missing.at.push_back(static_cast<int64_t>(at));
  if (missing.names.size() < kNamesMax) missing.names.push_back(key);
}

}  // namespace

size_t AnswerCache::Entry::bytes() const {
  size_t positions = without_value.at.capacity() + absent.at.capacity();
  return sizeof(Entry) + keys->bytes() + positions * sizeof(int64_t) + body.own_bytes();
}

template <typename Matches>
AnswerCache::Entry* AnswerCache::find_entry(Matches&& matches) {
  auto found = std::find_if(entries_.begin(), entries_.end(),
                            [&](const auto& entry) { return matches(*entry); });
  if (found == entries_.end()) return nullptr;
  std::rotate(entries_.begin(), found, found + 1);
  return entries_.front().get();
}

SharedKeys AnswerCache::find_named(Form form, Bytes name) {
  Entry* entry =
      find_entry([&](const Entry& each) { return each.form == form && each.named() == name; });
  return entry == nullptr ? nullptr : entry->keys;
}

SharedKeys AnswerCache::find(Form form, Bytes request) {
  return find_named(form, request);
}

SharedKeys AnswerCache::find_like(Form form, Bytes beginning) {
  Entry* entry = find_entry([&](const Entry& each) {
    Bytes name = each.named();
    return each.form == form &&
           name.substr(0, beginning.size()) == beginning.substr(0, name.size());
  });
  return entry == nullptr ? nullptr : entry->keys;
}

SharedKeys AnswerCache::remember(Form form, Bytes request, const std::vector<Bytes>& keys) {
  return add(form, std::make_shared<WantedKeys>(request, keys)).keys;
}

AnswerCache::Entry& AnswerCache::add(Form form, SharedKeys keys) {
  if (free_marks_ == 0) {
    if (going_.empty()) drop_last();
    Budget at_once;
    at_once.give(SIZE_MAX);
    unmark(at_once);
  }
  auto entry = std::make_unique<Entry>();
  entry->form = form;
  entry->keys = std::move(keys);
  entry->mark = Table::Marks{1} << std::countr_zero(free_marks_);
  free_marks_ &= ~entry->mark;
  entries_.insert(entries_.begin(), std::move(entry));
  has_grown_ = true;
  keep_within(limits::kComposedBytesMax, 1);
  return *entries_.front();
}

// The list of somebody who waited may be forgotten meanwhile. Null: the budget is spent, for what was
// begun before.
AnswerCache::Entry* AnswerCache::entry_of(Form form, const SharedKeys& keys) {
  if (working_ != nullptr && working_->keys != keys) {
    Entry& other = *find_entry([this](const Entry& each) { return &each == working_; });
    look_for_hits(other);
    const bool is_to_be_looked_at = other.looked < other.keys->size();
    if (!other.was_hit && !(is_to_be_looked_at ? look(other) : compose(other))) return nullptr;
    working_ = nullptr;
  }
  Entry* known = find_entry([&](const Entry& each) { return each.keys == keys; });
  Entry& entry = known != nullptr ? *known : add(form, keys);
  look_for_hits(entry);
  entry.is_awaited_until = turn_ + kTurnsAwaited;
  return &entry;
}

// False: the budget is spent.
bool AnswerCache::look(Entry& entry) {
  const size_t size = entry.keys->size();
  if (entry.looked == 0) {
    ++looks_;
    entry.losses = table_.losses();
    entry.was_hit = false;
    entry.without_value = {};
    entry.absent = {};
  }
  has_grown_ = true;
  for (; entry.looked < size; ++entry.looked) {
    if (budget_.is_spent()) {
      working_ = &entry;
      return false;
    }
    budget_.spend(Budget::kKey);
    const Bytes key = (*entry.keys)[entry.looked];
    if (table_.mark(key, entry.mark) != nullptr) continue;
    add_missing(entry.without_value, entry.looked, key);
    if (table_.queue_size(key) == 0) add_missing(entry.absent, entry.looked, key);
  }
  working_ = nullptr;
  // Who was there may have gone.
  const bool is_doubtful = entry.was_hit && entry.losses != table_.losses();
  if (!is_doubtful || !entry.absent.at.empty()) return true;
  entry.looked = 0;
  return look(entry);
}

const AnswerCache::Missing* AnswerCache::missing(Form form, const SharedKeys& keys,
                                                 Table::Need need) {
  Entry* entry = entry_of(form, keys);
  if (entry == nullptr) return nullptr;
  // What was found does not last if something has changed meanwhile.
  if (entry->looked == keys->size() && entry->was_hit) entry->looked = 0;
  if (entry->looked < keys->size() && !look(*entry)) return nullptr;
  entry->is_awaited_until = 0;
  return need == Table::Need::kPresent ? &entry->absent : &entry->without_value;
}

const AnswerBody* AnswerCache::body(Form form, const SharedKeys& keys) {
  Entry* entry = entry_of(form, keys);
  if (entry == nullptr) return nullptr;
  if (entry->looked < keys->size() && !look(*entry)) return nullptr;
  if (!compose(*entry)) return nullptr;
  entry->is_awaited_until = 0;
  return &entry->body;
}

// False: the budget is spent, or one is missing.
bool AnswerCache::compose(Entry& entry) {
  const WantedKeys& keys = *entry.keys;
  if (entry.composed == keys.size()) return true;
  AnswerBody& body = entry.body;
  if (entry.composed == 0 && entry.form == Form::kNative && body.text().empty())
    native::put_u32(body.text(), static_cast<uint32_t>(keys.size()));
  for (; entry.composed < keys.size(); ++entry.composed) {
    if (budget_.is_spent()) {
      working_ = &entry;
      return false;
    }
    budget_.spend(Budget::kKey);
    const Table::Value* value = table_.mark(keys[entry.composed], entry.mark);
    if (value == nullptr && entry.form == Form::kNative) {
      forget_body(entry);
      entry.looked = 0;
      working_ = nullptr;
      return false;
    }
    put_overhead(body.text(), entry.form, value);
    static const ValueBytes kNothing;
    const ValueBytes& bytes = value == nullptr ? kNothing : value->bytes;
    if (bytes.shared() == nullptr) budget_.spend(bytes.size() / Budget::kBytesAUnit);
    if (!body.add(bytes)) entry.composed = keys.size() - 1;
  }
  body.end();
  working_ = nullptr;
  has_grown_ = true;
  keep_within(limits::kComposedBytesMax, 1);
  return true;
}

void AnswerCache::look_for_hits(Entry& entry) {
  if ((table_.hits() & entry.mark) == 0) return;
  table_.forget_hits(entry.mark);
  entry.was_hit = true;
  forget_body(entry);
}

void AnswerCache::forget_body(Entry& entry) {
  entry.body = {};
  entry.composed = 0;
}

// Its mark is free again when no key without a value has it any more.
void AnswerCache::drop_last() {
  if (working_ == entries_.back().get()) working_ = nullptr;
  entries_.back()->looked = 0;
  going_.push_back(std::move(entries_.back()));
  entries_.pop_back();
}

// False: the budget is spent.
bool AnswerCache::unmark(Budget& budget) {
  while (!going_.empty()) {
    Entry& entry = *going_.back();
    forget_body(entry);
    for (; entry.looked < entry.keys->size(); ++entry.looked) {
      if (budget.is_spent()) return false;
      budget.spend(Budget::kKey);
      table_.unmark((*entry.keys)[entry.looked], entry.mark);
    }
    table_.forget_hits(entry.mark);
    free_marks_ |= entry.mark;
    going_.pop_back();
  }
  return true;
}

size_t AnswerCache::bytes() const {
  size_t total = 0;
  for (const auto& entry : entries_) total += entry->bytes();
  return total;
}

void AnswerCache::keep_within(size_t bytes_max, size_t entries_min) {
  size_t total = bytes();
  while (total > bytes_max && entries_.size() > entries_min) {
    const Entry& last = *entries_.back();
    if (&last == working_ || last.is_awaited_until > turn_) return;
    total -= last.bytes();
    drop_last();
  }
}

void AnswerCache::trim(size_t bytes_max) {
  ++turn_;
  Budget budget;
  budget.give(Budget::kChoreSlice);
  unmark(budget);
  if (!has_grown_ && (table_.hits() & marks_ & ~free_marks_) == 0) return;
  has_grown_ = false;
  for (const auto& entry : entries_) look_for_hits(*entry);
  keep_within(bytes_max, 0);
}

}  // namespace rdzv
