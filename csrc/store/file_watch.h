// Sleeps until somebody changes a file, where the system tells (inotify). One thread at a time; no
// thread of its own, and nothing is left in a forked child.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "store/file_fd.h"
#include "store/file_log.h"

namespace rdzv {

class FileWatch {
 public:
  enum class Start { kWatches, kBegan, kCannot };
  // kBegan: what happened before is not told, so look first. kCannot: the system has no such thing,
  // or no more of it, or others can change the file without it noticing.
  Start watch(const FileLog& log);
  // After watch. Whether something happened; else the time is over, or a signal came.
  bool sleep(Duration timeout);

 private:
  FileFd events_;
  uint64_t watched_ = 0;  // the serial number of the log; 0: none
};

}  // namespace rdzv
