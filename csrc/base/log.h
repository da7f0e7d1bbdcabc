// Log records of the C++ side. They go into one bounded queue of the process, so that no event loop
// ever waits for Python; the Python side drains it into `logging`: from a thread of its own where
// there is an event loop, else from the calls that logged, when they end. A forked child begins
// with an empty one: what is in it is its parent's to say. Any thread may write or read.
#pragma once

#include <atomic>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/fork_hold.h"
#include "base/monotonic_condition.h"

namespace rdzv {

enum class LogLevel {
  kDebug = 10,
  kInfo = 20,
  kWarning = 30,
  kError = 40
};  // the numbers of Python's logging

struct LogRecord {
  LogLevel level;
  std::string message;
};

class LogQueue {
 public:
  static LogQueue& instance();

  // Never blocks: when kRecordsMax records wait, the newest is dropped and counted.
  void write(LogLevel level, std::string message);

  // Waits until there is a record or `timeout` has passed. After dropped records, one record says
  // how many.
  std::optional<LogRecord> read(Duration timeout);

  // Ends the current or next wait without a record.
  void wake_reader();

  // Whether a thread reads all along. If none does, whoever may ends a call with reading what is
  // in the queue.
  void set_has_thread(bool has_thread) { has_thread_.store(has_thread, std::memory_order_relaxed); }
  bool is_left_alone() const {
    return count_.load(std::memory_order_relaxed) > 0 &&
           !has_thread_.load(std::memory_order_relaxed);
  }

 private:
  static constexpr size_t kRecordsMax = 4096;

  void begin_in_child();

  MonotonicCondition filled_;
  std::deque<LogRecord> records_;
  size_t dropped_ = 0;
  bool woken_ = false;
  std::mutex mutex_;  // protects all above
  ForkHold over_forks_{mutex_, [this] { begin_in_child(); }};
  std::atomic<size_t> count_{0};  // of the records
  std::atomic<bool> has_thread_{false};
};

inline void log(LogLevel level, std::string message) {
  LogQueue::instance().write(level, std::move(message));
}

}  // namespace rdzv
