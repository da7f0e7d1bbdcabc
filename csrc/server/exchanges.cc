#include "server/exchanges.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "wire/limits.h"
#include "wire/native.h"

namespace rdzv {
namespace {

// The keys of an exchange's slots, one after the other (store/exchange.h).
class SlotKeys {
 public:
  explicit SlotKeys(Bytes key) : text_(key), base_(key.size() + 1) { text_ += '/'; }
  Bytes of(int64_t rank) {
    char digits[20];
    const auto end = std::to_chars(digits, digits + sizeof(digits), rank).ptr;
    text_.resize(base_);
    text_.append(digits, end);
    return text_;
  }

 private:
  std::string text_;
  size_t base_;
};

}  // namespace

Exchanges::Progress Exchanges::ask(Bytes key, int64_t world_size, Budget& budget) {
  using State = Progress::State;
  View& view = view_of(key, world_size);
  look_for_hits(view);
  view.is_asked_for = true;
  if (view.come < world_size && !look(view, budget)) {
    // Nobody is looked for any further than the first who is missing.
    return budget.is_spent() && table_.find(SlotKeys(key).of(view.come)) != nullptr
               ? Progress{}
               : Progress{State::kMissing, view.come, nullptr};
  }
  if (view.composed < world_size && !view.body.is_too_large()) {
    // Whoever waits for it helps along the one that is being made.
    if (composing_ != nullptr && composing_ != &view) {
      look_for_hits(*composing_);
      View* other = composing_;
      if (other != nullptr && !compose(*other, budget)) return {};
    }
    if (!compose(view, budget))
      return view.come < world_size ? Progress{State::kMissing, view.come, nullptr} : Progress{};
  }
  return {State::kWhole, 0, &view.body};
}

int64_t Exchanges::come(Bytes key, int64_t world_size) const {
  for (const auto& view : views_) {
    if (view->world_size == world_size && view->key == key) return is_good(*view) ? view->come : 0;
  }
  return 0;
}

Exchanges::View& Exchanges::view_of(Bytes key, int64_t world_size) {
  auto found = std::find_if(views_.begin(), views_.end(), [&](const auto& view) {
    return view->world_size == world_size && view->key == key;
  });
  if (found == views_.end()) {
    if (views_.size() < kViewsMax) {
      views_.push_back(std::make_unique<View>());
      views_.back()->mark = Table::Marks{1} << (64 - views_.size());
    }
    found = views_.end() - 1;
    View& view = **found;
    if (composing_ == &view) composing_ = nullptr;
    const Table::Marks mark = view.mark;
    view = View();
    view.key = key;
    view.world_size = world_size;
    view.mark = mark;
    view.losses = table_.losses();
    table_.forget_hits(mark);
  }
  std::rotate(views_.begin(), found, found + 1);
  return *views_.front();
}

// Whether all who had come still have, as far as is known.
bool Exchanges::is_good(const View& view) const {
  return (table_.hits() & view.mark) == 0 || view.losses == table_.losses();
}

void Exchanges::look_for_hits(View& view) {
  if ((table_.hits() & view.mark) == 0) return;
  if (!is_good(view)) view.come = 0;
  view.losses = table_.losses();
  table_.forget_hits(view.mark);
  forget_body(view);
  if (composing_ == &view) composing_ = nullptr;
}

void Exchanges::forget_body(View& view) {
  view.body = {};
  view.composed = 0;
}

// False: somebody has not come, or the budget is spent.
bool Exchanges::look(View& view, Budget& budget) {
  SlotKeys keys(view.key);
  for (; view.come < view.world_size; ++view.come) {
    if (budget.is_spent()) return false;
    budget.spend(Budget::kSlot);
    ++looks_;
    const Bytes slot = keys.of(view.come);
    if (table_.mark(slot, view.mark) != nullptr) continue;
    table_.unmark(slot, view.mark);
    return false;
  }
  return true;
}

// Count, then bytes of each. False: the budget is spent, or somebody is missing after all.
bool Exchanges::compose(View& view, Budget& budget) {
  composing_ = &view;
  AnswerBody& body = view.body;
  SlotKeys keys(view.key);
  if (view.composed == 0 && body.text().empty())
    native::put_u32(body.text(), static_cast<uint32_t>(view.world_size));
  for (; view.composed < view.world_size; ++view.composed) {
    if (budget.is_spent()) return false;
    budget.spend(Budget::kSlot);
    const Bytes slot = keys.of(view.composed);
    const Table::Value* value = table_.mark(slot, view.mark);
    if (value == nullptr) {
      table_.unmark(slot, view.mark);
      view.come = view.composed;
      forget_body(view);
      composing_ = nullptr;
      return false;
    }
    const size_t size = value->bytes.size();
    if (value->bytes.shared() == nullptr) budget.spend(size / Budget::kBytesAUnit);
    native::put_u32(body.text(), static_cast<uint32_t>(size));
    if (!body.add(value->bytes)) break;
  }
  body.end();
  composing_ = nullptr;
  return true;
}

size_t Exchanges::bytes() const {
  size_t total = 0;
  for (const auto& view : views_) {
    total += sizeof(View) + view->key.capacity() + view->body.own_bytes();
  }
  return total;
}

void Exchanges::trim(size_t bytes_max) {
  for (const auto& view : views_) look_for_hits(*view);
  size_t total = views_.empty() ? 0 : bytes();
  for (auto view = views_.rbegin(); view != views_.rend(); ++view) {
    const bool is_needed = std::exchange((*view)->is_asked_for, false) || composing_ == view->get();
    if (total <= bytes_max || is_needed) continue;
    total -= std::min(total, (*view)->body.own_bytes());
    forget_body(**view);
  }
}

}  // namespace rdzv
