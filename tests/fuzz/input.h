// An input taken apart: what it says to do, and to whom. And copies of exactly their size, so that
// AddressSanitizer sees a read past the end.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/bytes.h"

namespace rdzv::fuzz {

// In every build. It ends the process, which is what libFuzzer and the tests' runner notice.
inline void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "not so: %s\n", what);
  std::abort();
}

class Exact {
 public:
  explicit Exact(Bytes bytes) : copy_(new char[bytes.size()]), size_(bytes.size()) {
    bytes.copy(copy_.get(), size_);
  }
  Bytes view() const { return Bytes(copy_.get(), size_); }

 private:
  std::unique_ptr<char[]> copy_;
  size_t size_;
};

// Reads every byte.
inline void look_at(Bytes bytes) {
  volatile char seen = 0;
  for (const char byte : bytes) seen = byte;
  static_cast<void>(seen);
}

class Input {
 public:
  explicit Input(Bytes bytes) : left_(bytes) {}

  bool is_empty() const { return left_.empty(); }
  // 0 when there is nothing more.
  uint8_t byte() { return static_cast<uint8_t>(take(1).empty() ? 0 : last_); }
  uint16_t number() {
    const uint16_t low = byte();
    return static_cast<uint16_t>(low | byte() << 8);
  }
  // So many, or what is left.
  Bytes take(size_t count) {
    const Bytes taken = left_.substr(0, count);
    left_.remove_prefix(taken.size());
    if (!taken.empty()) last_ = taken.back();
    return taken;
  }
  Bytes rest() { return take(left_.size()); }

 private:
  Bytes left_;
  char last_ = 0;
};

}  // namespace rdzv::fuzz
