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

size_t head_bytes(Form form) {
  return form == Form::kC10d ? 0 : sizeof(uint32_t);
}

// What comes with each value.
size_t overhead_bytes(Form form) {
  switch (form) {
    case Form::kNative:
      return sizeof(uint64_t) + sizeof(uint32_t);
    case Form::kC10d:
      return sizeof(uint64_t);
  }
  return 0;
}

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
  return sizeof(Entry) + keys->bytes() + positions * sizeof(int64_t) +
         body.pieces.capacity() * sizeof(SharedBytes) + own_bytes;
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
  if (free_marks_ == 0) drop_last();
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

// The list of somebody who waited may be forgotten meanwhile.
AnswerCache::Entry& AnswerCache::look(Form form, const SharedKeys& keys) {
  Entry* known = find_entry([&](const Entry& each) { return each.keys == keys; });
  Entry& entry = known != nullptr ? *known : add(form, keys);
  if (entry.is_fresh && (table_.hits() & entry.mark) == 0) return entry;
  ++looks_;
  budget_.spend(keys->size() * Budget::kKey);
  table_.forget_hits(entry.mark);
  let_go_of_body(entry);
  entry.without_value = {};
  entry.absent = {};
  for (size_t i = 0; i < keys->size(); ++i) {
    Bytes key = (*keys)[i];
    if (table_.mark(key, entry.mark) != nullptr) continue;
    add_missing(entry.without_value, i, key);
    if (table_.queue_size(key) == 0) add_missing(entry.absent, i, key);
  }
  entry.is_fresh = true;
  has_grown_ = true;
  return entry;
}

const AnswerCache::Missing& AnswerCache::missing(Form form, const SharedKeys& keys,
                                                 Table::Need need) {
  Entry& entry = look(form, keys);
  return need == Table::Need::kPresent ? entry.absent : entry.without_value;
}

const AnswerCache::Body& AnswerCache::body(Form form, const SharedKeys& keys) {
  Entry& entry = look(form, keys);
  if (!entry.has_body) {
    compose(entry);
    budget_.spend(keys->size() * Budget::kKey + entry.own_bytes / Budget::kBytesAUnit);
    has_grown_ = true;
    keep_within(limits::kComposedBytesMax, 1);
  }
  return entry.body;
}

void AnswerCache::compose(Entry& entry) const {
  entry.has_body = true;
  Body& body = entry.body;
  std::vector<const Table::Value*> values;
  values.reserve(entry.keys->size());
  body.bytes = head_bytes(entry.form) + entry.keys->size() * overhead_bytes(entry.form);
  size_t large = 0;
  for (Bytes key : *entry.keys) {
    const Table::Value* value = table_.find(key);
    values.push_back(value);
    if (value == nullptr) continue;
    body.bytes += value->bytes.size();
    if (value->bytes.shared() != nullptr) large += value->bytes.size();
    if (body.bytes > limits::kRequestBytesMax) {
      body.is_too_large = true;
      return;
    }
  }
  std::string text;
  text.reserve(body.bytes - large);
  entry.own_bytes = body.bytes - large;
  if (entry.form != Form::kC10d) native::put_u32(text, static_cast<uint32_t>(values.size()));
  for (const Table::Value* value : values) {
    put_overhead(text, entry.form, value);
    if (value == nullptr) continue;
    if (SharedBytes shared = value->bytes.shared()) {
      body.pieces.push_back(std::make_shared<std::string>(std::exchange(text, {})));
      body.pieces.push_back(std::move(shared));
    } else {
      text.append(value->bytes);
    }
  }
  if (!text.empty()) body.pieces.push_back(std::make_shared<std::string>(std::move(text)));
}

void AnswerCache::let_go_of_body(Entry& entry) {
  entry.body = {};
  entry.own_bytes = 0;
  entry.has_body = false;
}

void AnswerCache::drop_last() {
  Entry& last = *entries_.back();
  for (int64_t at : last.without_value.at)
    table_.unmark((*last.keys)[static_cast<size_t>(at)], last.mark);
  table_.forget_hits(last.mark);
  free_marks_ |= last.mark;
  entries_.pop_back();
}

size_t AnswerCache::bytes() const {
  size_t total = 0;
  for (const auto& entry : entries_) total += entry->bytes();
  return total;
}

void AnswerCache::keep_within(size_t bytes_max, size_t entries_min) {
  size_t total = bytes();
  while (total > bytes_max && entries_.size() > entries_min) {
    total -= entries_.back()->bytes();
    drop_last();
  }
}

void AnswerCache::trim() {
  if (!has_grown_ && (table_.hits() & marks_ & ~free_marks_) == 0) return;
  has_grown_ = false;
  for (const auto& entry : entries_) {
    if ((table_.hits() & entry->mark) == 0) continue;
    entry->is_fresh = false;
    table_.forget_hits(entry->mark);
    let_go_of_body(*entry);
  }
  keep_within(limits::kComposedBytesMax, 0);
}

}  // namespace rdzv
