// The times in a FileStore's file: milliseconds of the wall clock since 1970, because that is the
// only clock which the processes and hosts that share a file have in common. In a FileStore, and
// nowhere else, an Instant counts from 1970.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/clock.h"

namespace rdzv {

using WallClock = Instant (*)();

inline Instant wall_now() {
  return Instant(
      std::chrono::duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch()));
}

// What fits an Instant: until the year 2262.
inline constexpr uint64_t kFileTimeMaxMs = INT64_MAX / 1'000'000;

template <typename Ms>
uint64_t to_file_ms(Ms since_1970) {
  return static_cast<uint64_t>(
      std::clamp<int64_t>(since_1970.count(), 1, static_cast<int64_t>(kFileTimeMaxMs)));
}

// The end of a time to live: rounded up, so that it is not shorter than was asked for. Not 0.
inline uint64_t expiry_to_file_ms(Instant at) {
  return to_file_ms(std::chrono::ceil<std::chrono::milliseconds>(at.time_since_epoch()));
}

// A reading of the clock: rounded down, so that it is not in the future.
inline uint64_t now_to_file_ms(Instant at) {
  return to_file_ms(std::chrono::floor<std::chrono::milliseconds>(at.time_since_epoch()));
}

// `ms`: at most kFileTimeMaxMs.
inline Instant from_file_ms(uint64_t ms) {
  return Instant(std::chrono::milliseconds(static_cast<int64_t>(ms)));
}

}  // namespace rdzv
