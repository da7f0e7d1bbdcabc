// The bytes of a value. Large ones can be shared with answers that are on their way: a write then
// leaves those as they are and puts new bytes in their place. Belongs to whoever owns the table;
// what it has lent out is read by any thread.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "store/taken_bytes.h"

namespace rdzv {

class ValueBytes {
 public:
  // Below this a copy costs less than sharing.
  static constexpr size_t kSharedMin = 4096;

  ValueBytes() = default;
  explicit ValueBytes(Bytes bytes) { assign(bytes); }

  operator Bytes() const { return large_ != nullptr ? Bytes(large_->bytes) : Bytes(small_); }
  operator std::string() const { return std::string(Bytes(*this)); }
  size_t size() const { return Bytes(*this).size(); }
  bool empty() const { return size() == 0; }
  // The bytes as they are now, whatever is written later, for the owner's thread. Null for small
  // ones.
  SharedBytes shared() const {
    return large_ == nullptr ? nullptr : SharedBytes(large_, &large_->bytes);
  }
  // For other threads. When they have let go of them the owner cannot know, so that these bytes are
  // never written again.
  SharedBytes lent() const {
    if (large_ != nullptr) large_->is_lent = true;
    return shared();
  }

  // To take along, out of the owner's lock: copied behind it, if it is large.
  TakenBytes taken() const {
    return large_ != nullptr ? TakenBytes(lent()) : TakenBytes(std::string(small_));
  }

  void assign(Bytes bytes) {
    if (bytes.size() >= kSharedMin) {
      set_large(bytes);
    } else {
      // `bytes` may be a view of what goes.
      std::shared_ptr<Large> before = std::move(large_);
      large_ = nullptr;
      if (is_wasteful(small_, bytes.size())) {
        small_ = std::string(bytes);
      } else {
        small_.assign(bytes);
      }
    }
  }

  // A large one.
  void adopt(std::string bytes) { become_large(std::move(bytes)); }

  void append(Bytes bytes) {
    if (size() + bytes.size() < kSharedMin) {
      small_.append(bytes);
    } else if (is_ours()) {
      large_->bytes.append(bytes);
    } else {
      std::string whole;
      whole.reserve(size() + bytes.size());
      whole.append(Bytes(*this)).append(bytes);
      become_large(std::move(whole));
    }
  }

  friend bool operator==(const ValueBytes& a, const ValueBytes& b) { return Bytes(a) == Bytes(b); }
  friend bool operator==(const ValueBytes& a, Bytes b) { return Bytes(a) == b; }

 private:
  struct Large {
    std::string bytes;
    bool is_lent = false;
  };

  bool is_ours() const { return large_ != nullptr && !large_->is_lent && large_.use_count() == 1; }
  // Whether so little would lie in it that the buffer of what was there before is better given
  // back.
  static bool is_wasteful(const std::string& buffer, size_t size) {
    constexpr size_t kKept = 64;
    return buffer.capacity() > kKept && size < buffer.capacity() / 2;
  }
  void set_large(Bytes bytes) {
    if (is_ours() && !is_wasteful(large_->bytes, bytes.size())) {
      large_->bytes.assign(bytes);
    } else {
      become_large(std::string(bytes));
    }
  }
  void become_large(std::string bytes) {
    large_ = std::make_shared<Large>(Large{std::move(bytes)});
    std::string().swap(small_);
  }

  std::string small_;
  std::shared_ptr<Large> large_;  // if not null, it is the value
};

}  // namespace rdzv
