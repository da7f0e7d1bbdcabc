#include "server/chores.h"

#include <algorithm>
#include <new>

namespace rdzv {

Chore::~Chore() {
  if (chores_ != nullptr) chores_->end(*this);
}

void Chores::begin(Chore& chore) noexcept {
  if (chore.chores_ != nullptr) return;
  chore.chores_ = this;
  chore.before_ = last_;
  (last_ == nullptr ? first_ : last_->behind_) = &chore;
  last_ = &chore;
}

void Chores::end(Chore& chore) {
  if (chore.chores_ == nullptr) return;
  (chore.before_ == nullptr ? first_ : chore.before_->behind_) = chore.behind_;
  (chore.behind_ == nullptr ? last_ : chore.behind_->before_) = chore.before_;
  chore.before_ = chore.behind_ = nullptr;
  chore.chores_ = nullptr;
}

bool Chores::work(size_t units) {
  for (size_t left = units; left > 0 && !empty();) {
    Chore& chore = *first_;
    end(chore);
    budget_.give(std::min(left, Budget::kChoreSlice));
    bool is_done = false;
    try {
      is_done = chore.work(budget_);
    } catch (const std::bad_alloc&) {
      // One is not told; the others are served on.
    }
    left -= std::min(left, std::max<size_t>(budget_.spent(), 1));
    if (!is_done) begin(chore);
  }
  return !empty();
}

}  // namespace rdzv
