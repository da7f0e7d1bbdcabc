// How much memory is used for something, counted by those who use it. A Charge is a part of it and
// is given back with its owner, so that nothing can be left out or forgotten. No locks: an account
// and its charges belong to one thread.
#pragma once

#include <cstddef>
#include <utility>

namespace rdzv {

class MemoryAccount {
 public:
  // `whole`: counts what this one counts as well, and outlives it.
  explicit MemoryAccount(MemoryAccount* whole = nullptr) : whole_(whole) {}
  MemoryAccount(const MemoryAccount&) = delete;
  MemoryAccount& operator=(const MemoryAccount&) = delete;

  size_t used() const { return used_; }

 private:
  friend class Charge;

  void change(size_t from, size_t to) {
    used_ += to - from;
    if (whole_ != nullptr) whole_->used_ += to - from;
  }

  MemoryAccount* whole_;
  size_t used_ = 0;
};

class Charge {
 public:
  Charge() = default;
  // Null: nobody counts. The account outlives the charge.
  explicit Charge(MemoryAccount* account, size_t bytes = 0) : account_(account) { resize(bytes); }
  Charge(Charge&& other) noexcept
      : account_(std::exchange(other.account_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Charge& operator=(Charge&& other) noexcept {
    std::swap(account_, other.account_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Charge() { resize(0); }

  size_t bytes() const { return bytes_; }
  void resize(size_t bytes) {
    if (account_ == nullptr || bytes == bytes_) return;
    account_->change(bytes_, bytes);
    bytes_ = bytes;
  }

 private:
  MemoryAccount* account_ = nullptr;
  size_t bytes_ = 0;
};

// What a string takes beside its own size, roughly: short ones lie in it.
inline size_t heap_bytes(size_t string_bytes) {
  constexpr size_t kShort = 15;
  constexpr size_t kAllocation = 16;
  return string_bytes > kShort ? string_bytes + kAllocation : 0;
}

}  // namespace rdzv
