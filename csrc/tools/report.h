// What a run found, as one JSON object, and times as percentiles.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/clock.h"

namespace rdzv::tools {

// Counts times in buckets of 1/32 of their size, so that millions cost no memory.
class Times {
 public:
  void add(Duration time);
  uint64_t count() const { return count_; }
  Duration max() const { return max_; }
  // The time that `part` (0 to 1) of all do not exceed, to 3 %.
  Duration percentile(double part) const;

 private:
  static constexpr int kStepBits = 5;
  static constexpr size_t kSteps = size_t{1} << kStepBits;

  static size_t bucket_of(uint64_t nanoseconds);
  static uint64_t top_of(size_t bucket);

  std::array<uint64_t, 64 * kSteps> buckets_{};
  uint64_t count_ = 0;
  Duration max_{0};
};

class Report {
 public:
  void add(const std::string& name, double value);
  void add(const std::string& name, uint64_t value);
  void add(const std::string& name, const std::string& text);
  // p50, p90, p99, max and the count, in microseconds; nothing when there are none.
  void add(const std::string& name, const Times& times);
  // Requests or connections failed, although the run came to its end.
  void set_failed() { failed_ = true; }
  bool failed() const { return failed_; }
  std::string json() const { return "{" + body_ + "}"; }

 private:
  void begin(const std::string& name);

  std::string body_;
  bool failed_ = false;
};

}  // namespace rdzv::tools
