#include "base/log.h"

#include <new>

namespace rdzv {

LogQueue& LogQueue::instance() {
  static LogQueue* queue = new LogQueue;  // outlives every thread that might still log at exit
  return *queue;
}

void LogQueue::write(LogLevel level, std::string message) {
  {
    std::lock_guard lock(mutex_);
    if (records_.size() >= kRecordsMax) {
      ++dropped_;
      return;
    }
    records_.push_back({level, std::move(message)});
    count_.store(records_.size(), std::memory_order_relaxed);
  }
  filled_.notify_one();
}

std::optional<LogRecord> LogQueue::read(Duration timeout) {
  std::unique_lock lock(mutex_);
  const Deadline deadline = Deadline::after(timeout);
  while (!woken_ && records_.empty() && !deadline.passed()) filled_.wait_for(lock, deadline.left());
  woken_ = false;
  if (records_.empty()) return std::nullopt;
  if (dropped_ > 0 && records_.size() == 1) {
    std::string text = std::to_string(std::exchange(dropped_, 0)) + " log records were dropped";
    records_.push_back({LogLevel::kWarning, std::move(text)});
  }
  LogRecord record = std::move(records_.front());
  records_.pop_front();
  count_.store(records_.size(), std::memory_order_relaxed);
  return record;
}

void LogQueue::wake_reader() {
  {
    std::lock_guard lock(mutex_);
    woken_ = true;
  }
  filled_.notify_one();
}

void LogQueue::begin_in_child() {
  // The old one still counts a thread that is not there; destroying it would wait for that.
  new (&filled_) MonotonicCondition;
  records_.clear();
  dropped_ = 0;
  woken_ = false;
  count_.store(0, std::memory_order_relaxed);
  has_thread_.store(false, std::memory_order_relaxed);
}

}  // namespace rdzv
