// A descriptor that a forked child does not get: a socket of ours that lived on in a child would
// keep a dead server's port taken, and a dead client's connection open.
//
// In the child its number stays taken, by /dev/null: the child's copies of our objects still know
// it, and must not close what is opened later. Any thread; one owner at a time.
#pragma once

#include <utility>

#include "base/fd.h"

namespace rdzv {

class ProcessFd {
 public:
  ProcessFd() = default;
  explicit ProcessFd(UniqueFd fd);
  ProcessFd(ProcessFd&& other) noexcept = default;
  ProcessFd& operator=(ProcessFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::move(other.fd_);
    }
    return *this;
  }
  ~ProcessFd() { reset(); }

  int get() const { return fd_.get(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }
  void reset();

 private:
  UniqueFd fd_;
};

// The same for a descriptor that somebody else closes, after this object is gone.
class LentFd {
 public:
  explicit LentFd(int fd);
  LentFd(const LentFd&) = delete;
  LentFd& operator=(const LentFd&) = delete;
  ~LentFd();

 private:
  int fd_;
};

}  // namespace rdzv
