#include "base/timers.h"

#include <new>

namespace rdzv {

void Timers::run(Instant until, size_t max) {
  for (; max > 0 && next() <= until && !tasks_.empty(); --max) {
    const Task task = std::move(tasks_.begin()->second);
    tasks_.erase(tasks_.begin());
    try {
      task();
    } catch (const std::bad_alloc&) {
      // Somebody is not told that his time is over; the others are served on.
    }
  }
}

}  // namespace rdzv
