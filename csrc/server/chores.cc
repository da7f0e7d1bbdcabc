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
  waiting_.splice(waiting_.end(), chore.node_);
}

void Chores::end(Chore& chore) {
  if (chore.chores_ == nullptr) return;
  chore.node_.splice(chore.node_.begin(), waiting_, chore.place_);
  chore.chores_ = nullptr;
}

bool Chores::work(size_t units) {
  for (size_t left = units; left > 0 && !waiting_.empty();) {
    Chore& chore = *waiting_.front();
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
  return !waiting_.empty();
}

}  // namespace rdzv
