#include "server/output.h"

#include <algorithm>
#include <utility>

namespace rdzv {

void Output::append_shared(SharedBytes bytes) {
  if (bytes->empty()) return;
  shared_unsent_ += bytes->size();
  if (held_.add(bytes) && held_by_all_ != nullptr) held_by_all_->add(bytes);
  shared_.push_back({text_.size(), std::move(bytes)});
}

size_t Output::gather(std::array<Bytes, kPieces>& pieces) const {
  if (shared_unsent_ == 0) {
    pieces[0] = Bytes(text_).substr(text_sent_);
    return 1;
  }
  size_t count = 0;
  size_t text_from = text_sent_;
  size_t shared_from = shared_sent_;
  for (size_t i = first_shared_; i < shared_.size() && count + 2 <= kPieces; ++i) {
    const Shared& shared = shared_[i];
    if (shared.at > text_from)
      pieces[count++] = Bytes(text_).substr(text_from, shared.at - text_from);
    pieces[count++] = Bytes(*shared.bytes).substr(std::exchange(shared_from, 0));
    text_from = shared.at;
    if (i + 1 == shared_.size() && text_from < text_.size() && count < kPieces)
      pieces[count++] = Bytes(text_).substr(text_from);
  }
  return count;
}

size_t Output::gather(std::array<Bytes, kPieces>& pieces, size_t most) const {
  const size_t count = gather(pieces);
  for (size_t i = 0; i < count; ++i) {
    if (pieces[i].size() >= most) {
      pieces[i] = pieces[i].substr(0, most);
      return i + 1;
    }
    most -= pieces[i].size();
  }
  return count;
}

void Output::forget(size_t sent) {
  for (;;) {
    bool shared_follows = first_shared_ < shared_.size();
    size_t text_end = shared_follows ? shared_[first_shared_].at : text_.size();
    size_t of_text = std::min(sent, text_end - text_sent_);
    text_sent_ += of_text;
    sent -= of_text;
    if (sent == 0) return;
    Shared& shared = shared_[first_shared_];
    size_t of_shared = std::min(sent, shared.bytes->size() - shared_sent_);
    shared_sent_ += of_shared;
    shared_unsent_ -= of_shared;
    sent -= of_shared;
    if (shared_sent_ < shared.bytes->size()) return;
    let_go(shared);
    ++first_shared_;
    shared_sent_ = 0;
  }
}

void Output::let_go(Shared& shared) {
  const SharedBytes bytes = std::move(shared.bytes);
  if (held_.remove(bytes) && held_by_all_ != nullptr) held_by_all_->remove(bytes);
}

void Output::clear() {
  for (; first_shared_ < shared_.size(); ++first_shared_) let_go(shared_[first_shared_]);
  first_shared_ = 0;
  std::vector<Shared>().swap(shared_);
  std::string().swap(text_);
  text_sent_ = shared_sent_ = shared_unsent_ = 0;
}

bool SharedLedger::add(const SharedBytes& bytes) {
  if (++uses_[bytes.get()] > 1) return false;
  charge_.resize(bytes_ += bytes->size());
  return true;
}

bool SharedLedger::remove(const SharedBytes& bytes) {
  const auto found = uses_.find(bytes.get());
  if (--found->second > 0) return false;
  uses_.erase(found);
  charge_.resize(bytes_ -= bytes->size());
  return true;
}

void Output::tidy() {
  if (first_shared_ == shared_.size()) {
    first_shared_ = 0;
    shared_.clear();
    if (shared_.capacity() > 1) shared_.shrink_to_fit();
  }
  if (text_sent_ == text_.size() && shared_.empty()) {
    text_sent_ = 0;
    text_.clear();
    release_if_large(text_);
  } else if (text_sent_ > text_.size() / 2) {
    // A peer that is always a little behind must not make the buffer grow for ever.
    shared_.erase(shared_.begin(), shared_.begin() + static_cast<std::ptrdiff_t>(first_shared_));
    first_shared_ = 0;
    for (Shared& shared : shared_) shared.at -= text_sent_;
    text_.erase(0, std::exchange(text_sent_, 0));
    release_if_mostly_empty(text_);
  }
}

}  // namespace rdzv
