// Log records of the C++ side. They go into one bounded queue of the process; the Python side
// drains it into `logging` from a thread of its own, so that no event loop ever waits for Python.
// Any thread may write; one thread reads.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"

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

 private:
  static constexpr size_t kRecordsMax = 4096;

  std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<LogRecord> records_;
  size_t dropped_ = 0;
  bool woken_ = false;
};

inline void log(LogLevel level, std::string message) {
  LogQueue::instance().write(level, std::move(message));
}

}  // namespace rdzv
