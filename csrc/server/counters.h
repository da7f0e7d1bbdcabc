// What a server has done, counted since it began: for those who watch it (report.h). Nothing depends
// on these numbers, and they only grow. One thread at a time.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"
#include "wire/c10d.h"
#include "wire/messages.h"

namespace rdzv {

// Durations by their powers of two, in microseconds: bucket n has those of at most 2^n us, and the
// last one all others.
struct Histogram {
  static constexpr size_t kBuckets = 26;  // up to 16.8 s, and more

  void add(Duration duration) {
    const auto us = std::chrono::ceil<std::chrono::microseconds>(duration).count();
    const size_t bucket = us <= 1 ? 0 : std::bit_width(static_cast<uint64_t>(us) - 1);
    ++counts[std::min(bucket, kBuckets - 1)];
    sum += duration;
  }

  std::array<uint64_t, kBuckets> counts{};
  Duration sum{};
};

// Requests of one kind. How long the server worked on one is looked at now and then: reading a clock
// twice takes as long as a small part of a get.
struct RequestCounter {
  static constexpr uint64_t kOneOf = 64;

  uint64_t count = 0;
  Histogram took;  // one of so many
};

struct ServerCounters {
  std::array<RequestCounter, native::kOperationMax + size_t{1}> native{};
  std::array<RequestCounter, static_cast<size_t>(c10d::Code::kBarrier) + 1> c10d{};
  uint64_t received_bytes = 0;
  uint64_t sent_bytes = 0;
  uint64_t connections = 0;  // that have come
  uint64_t secured = 0;      // of those, by TLS
  uint64_t refusals = 0;     // of connections and requests, as the audit has them
  uint64_t evictions = 0;    // connections ended for want of memory, as they had most of it
  uint64_t nodes_joined = 0;
  uint64_t nodes_lost = 0;
  uint64_t runs_dropped = 0;  // forgotten although nodes were in them, for want of room
  Histogram rounds;           // since the first node of each
  Histogram turns;            // of the loop: who comes meanwhile waits
};

// Counts a request, and measures what is done until it goes. `read`: a clock for measurements alone;
// null: there is none.
class CountedRequest {
 public:
  using Clock = Instant (*)();

  CountedRequest(RequestCounter& counter, Clock read) : counter_(counter) {
    if (++counter.count % RequestCounter::kOneOf != 1 || read == nullptr) return;
    read_ = read;
    began_ = read();
  }
  ~CountedRequest() {
    if (read_ != nullptr) counter_.took.add(read_() - began_);
  }
  CountedRequest(const CountedRequest&) = delete;
  CountedRequest& operator=(const CountedRequest&) = delete;

 private:
  RequestCounter& counter_;
  Clock read_ = nullptr;
  Instant began_{};
};

}  // namespace rdzv
