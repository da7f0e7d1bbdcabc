// A value that a caller takes along: bytes of its own, or a large one that it shares with the store
// where it lies. So whoever needs the bytes elsewhere in the end copies them once, and where it
// suits him: behind no lock.
#pragma once

#include <string>
#include <utility>

#include "base/bytes.h"

namespace rdzv {

class TakenBytes {
 public:
  TakenBytes() = default;
  // All of it but the first `begin` bytes.
  TakenBytes(std::string own, size_t begin = 0) : own_(std::move(own)), begin_(begin) {}
  // Never null.
  TakenBytes(SharedBytes shared) : shared_(std::move(shared)) {}

  Bytes view() const { return shared_ != nullptr ? Bytes(*shared_) : Bytes(own_).substr(begin_); }

 private:
  std::string own_;
  size_t begin_ = 0;
  SharedBytes shared_;
};

}  // namespace rdzv
