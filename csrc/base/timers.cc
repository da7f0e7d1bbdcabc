#include "base/timers.h"

#include <new>

namespace rdzv {

size_t Timers::run(Instant until, size_t max) {
  size_t count = 0;
  for (; count < max && next() <= until && !tasks_.empty(); ++count) {
    const Task task = std::move(tasks_.begin()->second);
    tasks_.erase(tasks_.begin());
    try {
      task();
    } catch (const std::bad_alloc&) {
      // Somebody is not told that his time is over; the others are served on.
    }
  }
  return count;
}

}  // namespace rdzv
