#include "tools/report.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>

#include "base/error.h"

namespace rdzv::tools {
namespace {

void put(std::string& out, uint64_t value) {
  append_little_endian(out, value);
}

void put(std::string& out, double value) {
  put(out, std::bit_cast<uint64_t>(value));
}

void put(std::string& out, const std::string& text) {
  put(out, uint64_t{text.size()});
  out += text;
}

double take_double(ByteReader& reader) {
  return std::bit_cast<double>(reader.u64());
}

std::string take_text(ByteReader& reader) {
  uint64_t size = reader.u64();
  return std::string(reader.take(size));
}

}  // namespace

void Times::add(Duration time) {
  auto nanoseconds = static_cast<uint64_t>(std::max<Duration::rep>(time.count(), 0));
  ++buckets_[bucket_of(nanoseconds)];
  ++count_;
  max_ = std::max(max_, time);
}

void Times::merge(const Times& other) {
  for (size_t bucket = 0; bucket < buckets_.size(); ++bucket)
    buckets_[bucket] += other.buckets_[bucket];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
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

void Times::encode(std::string& out) const {
  put(out, static_cast<uint64_t>(max_.count()));
  put(out,
      static_cast<uint64_t>(std::ranges::count_if(buckets_, [](uint64_t n) { return n > 0; })));
  for (size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    if (buckets_[bucket] == 0) continue;
    put(out, uint64_t{bucket});
    put(out, buckets_[bucket]);
  }
}

Times Times::decode(ByteReader& reader) {
  Times times;
  times.max_ = Duration(reader.i64());
  for (uint64_t left = reader.u64(); left > 0 && reader.ok(); --left) {
    uint64_t bucket = reader.u64();
    uint64_t count = reader.u64();
    if (bucket >= times.buckets_.size()) throw Error(ErrorCode::kProtocol, "no such bucket");
    times.buckets_[bucket] = count;
    times.count_ += count;
  }
  return times;
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

Quantity Quantity::span(Instant from, Instant to) {
  return span(to_seconds(from.time_since_epoch()), to_seconds(to.time_since_epoch()));
}

void Quantity::merge(const Quantity& other) {
  if (kind_ == Kind::kSum) {
    to_ += other.to_;
  } else if (kind_ == Kind::kSpan) {
    from_ = std::min(from_, other.from_);
    to_ = std::max(to_, other.to_);
  }
}

void Quantity::encode(std::string& out) const {
  put(out, uint64_t{static_cast<uint8_t>(kind_)});
  put(out, from_);
  put(out, to_);
}

Quantity Quantity::decode(ByteReader& reader) {
  auto kind = static_cast<Kind>(reader.u64());
  double from = take_double(reader);
  return {kind, from, take_double(reader)};
}

void Report::add(const std::string& name, uint64_t value) {
  entries_.push_back(
      {.name = name, .kind = Kind::kInteger, .top = Quantity::same(static_cast<double>(value))});
}

void Report::add(const std::string& name, const std::string& text) {
  entries_.push_back({.name = name, .kind = Kind::kText, .text = text});
}

void Report::add_count(const std::string& name, uint64_t part) {
  entries_.push_back(
      {.name = name, .kind = Kind::kInteger, .top = Quantity::sum(static_cast<double>(part))});
}

void Report::add(const std::string& name, const Quantity& quantity) {
  add_ratio(name, quantity, Quantity::same(1));
}

void Report::add_ratio(const std::string& name, const Quantity& top, const Quantity& bottom,
                       double scale) {
  entries_.push_back(
      {.name = name, .kind = Kind::kRatio, .top = top, .bottom = bottom, .scale = scale});
}

void Report::add(const std::string& name, const Times& times) {
  entries_.push_back({.name = name, .kind = Kind::kTimes, .times = std::make_shared<Times>(times)});
}

void Report::merge(const Report& other) {
  for (const Entry& theirs : other.entries_) {
    auto ours = std::ranges::find(entries_, theirs.name, &Entry::name);
    if (ours == entries_.end()) {
      entries_.push_back(theirs);
      continue;
    }
    ours->top.merge(theirs.top);
    ours->bottom.merge(theirs.bottom);
    if (ours->times && theirs.times) {
      // Entries are copied with their report, and share this.
      ours->times = std::make_shared<Times>(*ours->times);
      ours->times->merge(*theirs.times);
    }
  }
  failed_ = failed_ || other.failed_;
}

std::string Report::encode() const {
  std::string out;
  put(out, uint64_t{failed_});
  put(out, uint64_t{entries_.size()});
  for (const Entry& entry : entries_) {
    put(out, entry.name);
    put(out, uint64_t{static_cast<uint8_t>(entry.kind)});
    put(out, entry.text);
    entry.top.encode(out);
    entry.bottom.encode(out);
    put(out, entry.scale);
    if (entry.kind == Kind::kTimes) entry.times->encode(out);
  }
  return out;
}

Report Report::decode(Bytes bytes) {
  ByteReader reader(bytes);
  Report report;
  report.failed_ = reader.u64() != 0;
  for (uint64_t left = reader.u64(); left > 0 && reader.ok(); --left) {
    Entry entry;
    entry.name = take_text(reader);
    entry.kind = static_cast<Kind>(reader.u64());
    entry.text = take_text(reader);
    entry.top = Quantity::decode(reader);
    entry.bottom = Quantity::decode(reader);
    entry.scale = take_double(reader);
    if (entry.kind == Kind::kTimes) entry.times = std::make_shared<Times>(Times::decode(reader));
    report.entries_.push_back(std::move(entry));
  }
  if (!reader.ok() || reader.left() > 0)
    throw Error(ErrorCode::kProtocol, "a process's report is malformed");
  return report;
}

std::string Report::json() const {
  std::string body;
  for (const Entry& entry : entries_) {
    if (entry.kind == Kind::kTimes && entry.times->count() == 0) continue;
    if (!body.empty()) body += ", ";
    body += "\"" + entry.name + "\": " + shown(entry);
  }
  return "{" + body + "}";
}

std::string Report::shown(const Entry& entry) {
  char text[160];
  if (entry.kind == Kind::kText) {
    std::string quoted = "\"";
    for (char c : entry.text) {
      bool plain = c >= ' ' && c <= '~' && c != '"' && c != '\\';
      quoted += plain ? c : '?';
    }
    return quoted + "\"";
  }
  if (entry.kind == Kind::kTimes) {
    const Times& times = *entry.times;
    auto us = [](Duration time) { return to_seconds(time) * 1e6; };
    std::snprintf(text, sizeof(text),
                  "{\"count\": %llu, \"p50\": %.6g, \"p90\": %.6g, \"p99\": %.6g, \"max\": %.6g}",
                  static_cast<unsigned long long>(times.count()), us(times.percentile(0.5)),
                  us(times.percentile(0.9)), us(times.percentile(0.99)), us(times.max()));
  } else if (entry.kind == Kind::kInteger) {
    std::snprintf(text, sizeof(text), "%.0f", entry.top.value());
  } else {
    double value = entry.top.value() / entry.bottom.value() * entry.scale;
    std::snprintf(text, sizeof(text), "%.9g", std::isfinite(value) ? value : 0.0);
  }
  return text;
}

}  // namespace rdzv::tools
