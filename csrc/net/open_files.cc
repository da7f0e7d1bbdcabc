#include "net/open_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <climits>
#include <memory>

#include "base/fd.h"

namespace rdzv {
namespace {

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, DirectoryCloser>;

// Its own descriptor, "." and ".." included; or, where there is no list, the number that the next
// one would get: they are given out from below.
uint64_t open_files_count() {
#if defined(__linux__)
  Directory list(::opendir("/proc/self/fd"));
#else
  Directory list(::opendir("/dev/fd"));
#endif
  if (!list) {
    UniqueFd next(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    return next ? static_cast<uint64_t>(next.get()) : open_files_limit().soft;
  }
  uint64_t count = 0;
  while (::readdir(list.get()) != nullptr) ++count;
  return count > 3 ? count - 3 : 0;
}

}  // namespace

OpenFiles open_files_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return {};
  return {limit.rlim_cur, limit.rlim_max};
}

bool raise_open_files_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
  rlim_t wanted = limit.rlim_max;
#if defined(OPEN_MAX)
  wanted = std::min<rlim_t>(wanted, OPEN_MAX);  // more is refused on macOS
#endif
  if (limit.rlim_cur >= wanted) return false;
  limit.rlim_cur = wanted;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

uint64_t open_files_left() {
  const uint64_t limit = open_files_limit().soft;
  return limit - std::min(limit, open_files_count());
}

}  // namespace rdzv
