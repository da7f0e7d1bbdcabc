#include "tools/report.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>

namespace rdzv::tools {

void Times::add(Duration time) {
  auto nanoseconds = static_cast<uint64_t>(std::max<Duration::rep>(time.count(), 0));
  ++buckets_[bucket_of(nanoseconds)];
  ++count_;
  max_ = std::max(max_, time);
}

Duration Times::percentile(double part) const {
  auto wanted = static_cast<uint64_t>(std::ceil(part * static_cast<double>(count_)));
  uint64_t seen = 0;
  for (size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    seen += buckets_[bucket];
    if (seen >= wanted && seen > 0)
      return std::min(max_, Duration(static_cast<Duration::rep>(top_of(bucket))));
  }
  return max_;
}

// Below kSteps each number has its bucket; above, each power of two is cut into kSteps of them.
size_t Times::bucket_of(uint64_t nanoseconds) {
  if (nanoseconds < kSteps) return nanoseconds;
  int shift = std::bit_width(nanoseconds) - kStepBits - 1;
  return (static_cast<size_t>(shift) + 1) * kSteps + ((nanoseconds >> shift) & (kSteps - 1));
}

uint64_t Times::top_of(size_t bucket) {
  if (bucket < kSteps) return bucket;
  size_t shift = bucket / kSteps - 1;
  return (((bucket & (kSteps - 1)) | kSteps) + 1) << shift;
}

void Report::begin(const std::string& name) {
  if (!body_.empty()) body_ += ", ";
  body_ += "\"" + name + "\": ";
}

void Report::add(const std::string& name, double value) {
  begin(name);
  char text[32];
  std::snprintf(text, sizeof(text), "%.9g", std::isfinite(value) ? value : 0.0);
  body_ += text;
}

void Report::add(const std::string& name, uint64_t value) {
  begin(name);
  body_ += std::to_string(value);
}

void Report::add(const std::string& name, const std::string& text) {
  begin(name);
  body_ += '"';
  for (char c : text) {
    bool plain = c >= ' ' && c <= '~' && c != '"' && c != '\\';
    body_ += plain ? c : '?';
  }
  body_ += '"';
}

void Report::add(const std::string& name, const Times& times) {
  if (times.count() == 0) return;
  begin(name);
  auto us = [](Duration time) { return to_seconds(time) * 1e6; };
  char text[160];
  std::snprintf(text, sizeof(text),
                "{\"count\": %llu, \"p50\": %.6g, \"p90\": %.6g, \"p99\": %.6g, \"max\": %.6g}",
                static_cast<unsigned long long>(times.count()), us(times.percentile(0.5)),
                us(times.percentile(0.9)), us(times.percentile(0.99)), us(times.max()));
  body_ += text;
}

}  // namespace rdzv::tools
