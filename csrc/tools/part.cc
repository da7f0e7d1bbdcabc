#include "tools/part.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "base/error.h"
#include "tools/meeting.h"

namespace rdzv::tools {
namespace {

static_assert(std::atomic<int64_t>::is_always_lock_free &&
              std::atomic<uint32_t>::is_always_lock_free);

}  // namespace

// Fresh anonymous memory is zero, which is what both kinds of atomics begin with.
Board::Board(size_t world_size)
    : world_size_(world_size),
      memory_(::mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
  if (memory_ == MAP_FAILED)
    throw Error(ErrorCode::kLimit, "cannot share memory between processes: " + errno_text(errno));
}

Board::~Board() {
  ::munmap(memory_, bytes());
}

size_t Board::bytes() const {
  return sizeof(std::atomic<int64_t>) + world_size_ * sizeof(std::atomic<uint32_t>);
}

std::atomic<int64_t>& Board::moment_ns() {
  return *static_cast<std::atomic<int64_t>*>(memory_);
}

std::atomic<uint32_t>& Board::round_of(size_t rank) {
  char* ranks = static_cast<char*>(memory_) + sizeof(std::atomic<int64_t>);
  return reinterpret_cast<std::atomic<uint32_t>*>(ranks)[rank];
}

Part::Part(Board& board, std::string name, size_t index, size_t first, int meeting)
    : board_(board), name_(std::move(name)), index_(index), first_(first), meeting_(meeting) {}

bool Part::meet(bool is_well) {
  if (meeting_ < 0) return is_well;
  Said said{};
  std::string body(1, is_well ? 1 : 0);
  // Without a coordinator there is nobody to play for.
  if (!say(meeting_, Said::kMeet, body) || !hear(meeting_, said, body)) ::_exit(1);
  return body[0] != 0;
}

}  // namespace rdzv::tools
