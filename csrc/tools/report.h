// What a run found, as one JSON object, and times as percentiles. Several processes that played one
// run together have a report each; merged, they are one.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"

namespace rdzv::tools {

// Counts times in buckets of 1/32 of their size, so that millions cost no memory.
class Times {
 public:
  void add(Duration time);
  void merge(const Times& other);
  uint64_t count() const { return count_; }
  Duration max() const { return max_; }
  // The time that `part` (0 to 1) of all do not exceed, to 3 %.
  Duration percentile(double part) const;

  // Only buckets that have counted something.
  void encode(std::string& out) const;
  static Times decode(ByteReader& reader);

 private:
  static constexpr int kStepBits = 5;
  static constexpr size_t kSteps = size_t{1} << kStepBits;

  static size_t bucket_of(uint64_t nanoseconds);
  static uint64_t top_of(size_t bucket);

  std::array<uint64_t, 64 * kSteps> buckets_{};
  uint64_t count_ = 0;
  Duration max_{0};
};

// A number that one process found, and how it goes together with what the others found.
class Quantity {
 public:
  // The same in all processes: what was asked for.
  static Quantity same(double value) { return {Kind::kSame, 0, value}; }
  // All processes' parts together.
  static Quantity sum(double part) { return {Kind::kSum, 0, part}; }
  // From the first one's begin to the last one's end, by a clock or a counter that all of them
  // read: the machine's clock, the server's CPU time.
  static Quantity span(double from, double to) { return {Kind::kSpan, from, to}; }
  static Quantity span(Instant from, Instant to);

  void merge(const Quantity& other);
  double value() const { return to_ - from_; }

  void encode(std::string& out) const;
  static Quantity decode(ByteReader& reader);

 private:
  enum class Kind : uint8_t { kSame, kSum, kSpan };
  Quantity(Kind kind, double from, double to) : kind_(kind), from_(from), to_(to) {}

  Kind kind_;
  double from_;
  double to_;
};

class Report {
 public:
  // What all processes say alike.
  void add(const std::string& name, uint64_t value);
  void add(const std::string& name, const std::string& text);
  // A sum over all processes.
  void add_count(const std::string& name, uint64_t part);
  void add(const std::string& name, const Quantity& quantity);
  // `top` over `bottom`, times `scale`; 0 where there is nothing to divide by.
  void add_ratio(const std::string& name, const Quantity& top, const Quantity& bottom,
                 double scale = 1);
  // p50, p90, p99, max and the count, in microseconds; nothing when there are none.
  void add(const std::string& name, const Times& times);
  // Requests or connections failed, although the run came to its end.
  void set_failed() { failed_ = true; }
  bool failed() const { return failed_; }
  std::string json() const;

  // Another process's report of the same run. Of texts the first one stays.
  void merge(const Report& other);
  // For the way from one process of this program to another, no longer.
  std::string encode() const;
  // Throws Error{kProtocol} for what encode() has not made.
  static Report decode(Bytes bytes);

 private:
  enum class Kind : uint8_t { kText, kInteger, kRatio, kTimes };
  struct Entry {
    std::string name;
    Kind kind = Kind::kText;
    std::string text{};
    Quantity top = Quantity::same(0);
    Quantity bottom = Quantity::same(1);
    double scale = 1;
    std::shared_ptr<Times> times{};
  };

  static std::string shown(const Entry& entry);

  std::vector<Entry> entries_;
  bool failed_ = false;
};

}  // namespace rdzv::tools
