// A value that a caller takes along: bytes of its own, or some that it shares with the store or the
// answer where they lie. So whoever needs the bytes elsewhere in the end copies them once, and
// where it suits him: behind no lock.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace rdzv {

class TakenBytes {
 public:
  TakenBytes() = default;
  // All of it but the first `begin` bytes.
  TakenBytes(std::string own, size_t begin = 0) : own_(std::move(own)), begin_(begin) {}
  // A part of what is not null.
  TakenBytes(SharedBytes shared, size_t begin = 0, size_t size = std::string::npos)
      : begin_(begin), size_(size), shared_(std::move(shared)) {}

  Bytes view() const {
    return (shared_ != nullptr ? Bytes(*shared_) : Bytes(own_)).substr(begin_, size_);
  }
  operator Bytes() const { return view(); }
  operator std::string() const& { return std::string(view()); }
  operator std::string() && { return std::move(*this).own(); }
  size_t size() const { return view().size(); }
  friend bool operator==(const TakenBytes& a, Bytes b) { return a.view() == b; }
  // A part of it, which is a view of it and is not moved for it.
  TakenBytes part(Bytes part) && {
    if (!part.empty()) begin_ += static_cast<size_t>(part.data() - view().data());
    size_ = part.size();
    return std::move(*this);
  }
  // Parts of it, which share it; `parts` are views of it.
  std::vector<TakenBytes> split(const std::vector<Bytes>& parts) && {
    const char* begin = shared_ != nullptr ? shared_->data() : own_.data();
    std::vector<size_t> places;
    places.reserve(parts.size());
    for (Bytes part : parts)
      places.push_back(part.empty() ? 0 : static_cast<size_t>(part.data() - begin));
    if (shared_ == nullptr) shared_ = std::make_shared<std::string>(std::move(own_));
    std::vector<TakenBytes> taken;
    taken.reserve(parts.size());
    for (size_t i = 0; i < parts.size(); ++i)
      taken.emplace_back(shared_, places[i], parts[i].size());
    return taken;
  }
  // As a string of its own.
  std::string own() && {
    if (shared_ != nullptr || begin_ > 0 || size_ != std::string::npos) return std::string(view());
    return std::move(own_);
  }

 private:
  std::string own_;
  size_t begin_ = 0;
  size_t size_ = std::string::npos;
  SharedBytes shared_;
};

}  // namespace rdzv
