// Moments at which something is to be done, the earliest first. Reads no clock: who runs them says
// how late it is. One set of timers is of one clock, whichever. Belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "base/clock.h"

namespace rdzv {

class Timers {
 public:
  using Task = std::function<void()>;
  using Id = std::pair<Instant, uint64_t>;  // when, and which of those

  // Their numbers begin behind `first`, for who tells two sets apart by them.
  explicit Timers(uint64_t first = 0) : count_(first) {}

  Id call_at(Instant at, Task task) {
    const Id id(at, ++count_);
    tasks_.emplace(id, std::move(task));
    return id;
  }
  // One that has run, or never was, is none.
  void cancel(const Id& id) { tasks_.erase(id); }
  // The same, and forgets which it was.
  void cancel(std::optional<Id>& id) {
    if (id) tasks_.erase(*std::exchange(id, std::nullopt));
  }

  bool empty() const { return tasks_.empty(); }
  // kNever: there is none.
  static constexpr Instant kNever = Instant::max();
  Instant next() const { return tasks_.empty() ? kNever : tasks_.begin()->first.first; }

  // Runs those that are due, `max` at most, and says how many that were.
  size_t run(Instant until, size_t max);

 private:
  std::map<Id, Task> tasks_;
  uint64_t count_;
};

}  // namespace rdzv
