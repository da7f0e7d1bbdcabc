// The replies of one connection that are not sent yet, in order. Small bytes lie together in one
// string; large ones are shared with whoever else has them, so that a value of 1 MiB that 10,000
// clients wait for is in memory once. Knows nothing of protocols.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/memory_account.h"

namespace rdzv {

// Gives a large buffer back that is empty, so that an idle connection is small.
inline void release_if_large(std::string& buffer) {
  constexpr size_t kBufferKept = 4096;
  if (buffer.capacity() > kBufferKept) std::string().swap(buffer);
}

// Likewise one with little in it, which was large once. Rarely, so that a steady stream keeps its
// buffer.
inline void release_if_mostly_empty(std::string& buffer) {
  constexpr size_t kBufferKept = 1024 * 1024;
  if (buffer.capacity() > kBufferKept && buffer.size() < buffer.capacity() / 4)
    buffer.shrink_to_fit();
}

// How much memory shared bytes take of which some are used several times.
class SharedLedger {
 public:
  // `account`: is charged with it; null: nobody is.
  explicit SharedLedger(MemoryAccount* account = nullptr) : charge_(account) {}

  // True: it was not used before.
  bool add(const SharedBytes& bytes);
  // True: it is not used any more.
  bool remove(const SharedBytes& bytes);
  size_t bytes() const { return bytes_; }

 private:
  std::unordered_map<const std::string*, size_t> uses_;
  size_t bytes_ = 0;
  Charge charge_;
};

class Output {
 public:
  // `held_by_all`: of all outputs; null: nobody counts.
  explicit Output(SharedLedger* held_by_all = nullptr) : held_by_all_(held_by_all) {}
  ~Output() { clear(); }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Replies are appended to it. What is in it may be gone after send().
  std::string& text() { return text_; }
  // Comes behind what is in text() now, and before what is appended to it later.
  void append_shared(SharedBytes bytes);

  size_t unsent() const { return text_.size() - text_sent_ + shared_unsent_; }
  // The memory that is used for it: its own, and what it shares, which is there once however often
  // it is sent.
  size_t own() const { return text_.size() + shared_.size() * sizeof(Shared); }
  size_t held() const { return own() + held_.bytes(); }

  // Sends `most` bytes, which it counts down, or until the peer takes no more: `take` gets pieces
  // that follow each other, and says how many bytes it took of them, or nothing when the peer is
  // gone. Then it is false.
  template <typename Take>
  bool send(Take&& take, size_t& most) {
    while (unsent() > 0 && most > 0) {
      std::array<Bytes, kPieces> pieces;
      const size_t count = gather(pieces, most);
      const std::optional<size_t> sent = take(std::span<const Bytes>(pieces).first(count));
      if (!sent) return false;
      if (*sent == 0) break;
      most -= *sent;
      forget(*sent);
    }
    tidy();
    return true;
  }

  // Gives up what is not sent.
  void clear();

 private:
  struct Shared {
    size_t at;  // how much of text_ comes before it
    SharedBytes bytes;
  };
  static constexpr size_t kPieces = 16;  // that leave with one system call

  size_t gather(std::array<Bytes, kPieces>& pieces, size_t most) const;
  size_t gather(std::array<Bytes, kPieces>& pieces) const;
  void forget(size_t sent);
  void let_go(Shared& shared);
  void tidy();

  std::string text_;
  size_t text_sent_ = 0;
  std::vector<Shared> shared_;
  size_t first_shared_ = 0;  // those before are sent
  size_t shared_sent_ = 0;   // of the first
  size_t shared_unsent_ = 0;
  SharedLedger held_;
  SharedLedger* held_by_all_;
};

}  // namespace rdzv
