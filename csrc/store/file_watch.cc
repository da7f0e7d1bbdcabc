#include "store/file_watch.h"

#ifdef __linux__
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <ctime>
#endif

namespace rdzv {

#ifdef __linux__

FileWatch::Start FileWatch::watch(const FileLog& log) {
  if (log.is_shared()) return Start::kCannot;
  if (events_ && watched_ == log.serial()) return Start::kWatches;
  // One for each file: what is left of the one before goes with it.
  events_ = FileFd::make([] { return ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC); });
  if (!events_) return Start::kCannot;
  // A file that loses its name (IN_ATTRIB) has been compacted.
  constexpr uint32_t kChanges = IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF;
  if (::inotify_add_watch(events_.get(), log.path().c_str(), kChanges) < 0) {
    events_.close();
    return Start::kCannot;
  }
  watched_ = log.serial();
  return Start::kBegan;
}

bool FileWatch::sleep(Duration timeout) {
  auto seconds = std::chrono::floor<std::chrono::seconds>(timeout);
  timespec limit{static_cast<time_t>(seconds.count()),
                 static_cast<long>((timeout - seconds).count())};
  pollfd asked{events_.get(), POLLIN, 0};
  if (::ppoll(&asked, 1, &limit, nullptr) <= 0) return false;
  // What it was does not matter: the file tells.
  alignas(inotify_event) char events[4096];
  while (::read(events_.get(), events, sizeof(events)) > 0) {
  }
  return true;
}

#else

FileWatch::Start FileWatch::watch(const FileLog&) {
  return Start::kCannot;
}

bool FileWatch::sleep(Duration) {
  return false;
}

#endif

}  // namespace rdzv
