#include "net/process_fd.h"

#include <fcntl.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

namespace rdzv {
namespace {

// A bit a descriptor. Whoever forks may be in the middle of anything, so the child can rely on
// nothing but these words; what lies above stays open in children.
constexpr size_t kBits = 64;
constexpr size_t kTrackedMax = 1 << 20;
std::array<std::atomic<uint64_t>, kTrackedMax / kBits> tracked;
std::atomic<size_t> words_used{0};

// Calls what a child of a process with threads may call, and nothing else.
void replace_in_child() {
  int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  size_t words = words_used.load(std::memory_order_relaxed);
  for (size_t i = 0; i < words; ++i) {
    for (uint64_t left = tracked[i].exchange(0); left != 0; left &= left - 1) {
      int fd = static_cast<int>(i * kBits + static_cast<size_t>(std::countr_zero(left)));
      if (nothing < 0 || ::dup2(nothing, fd) < 0) continue;
      ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
  }
  if (nothing >= 0) ::close(nothing);
}

bool is_tracked(int fd) {
  return fd >= 0 && static_cast<size_t>(fd) < kTrackedMax;
}

void track(int fd) {
  [[maybe_unused]] static const int registered =
      ::pthread_atfork(nullptr, nullptr, &replace_in_child);
  if (!is_tracked(fd)) return;
  size_t word = static_cast<size_t>(fd) / kBits;
  tracked[word].fetch_or(uint64_t{1} << (static_cast<size_t>(fd) % kBits));
  size_t used = words_used.load(std::memory_order_relaxed);
  while (used <= word && !words_used.compare_exchange_weak(used, word + 1)) {
  }
}

void untrack(int fd) {
  if (!is_tracked(fd)) return;
  tracked[static_cast<size_t>(fd) / kBits].fetch_and(
      ~(uint64_t{1} << (static_cast<size_t>(fd) % kBits)));
}

}  // namespace

ProcessFd::ProcessFd(UniqueFd fd) : fd_(std::move(fd)) {
  track(fd_.get());
}

void ProcessFd::reset() {
  untrack(fd_.get());
  fd_.reset();
}

LentFd::LentFd(int fd) : fd_(fd) {
  track(fd_);
}

LentFd::~LentFd() {
  untrack(fd_);
}

}  // namespace rdzv
