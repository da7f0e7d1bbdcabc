// Time as the project uses it: a monotonic instant, a duration, a deadline. Nothing here compares
// two machines' clocks. The core (Table, Group, decoders) takes an Instant as an argument; only
// net, server and client call now().
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace rdzv {

using Duration = std::chrono::nanoseconds;
using Instant = std::chrono::time_point<std::chrono::steady_clock, Duration>;

inline Instant now() {
  return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now());
}

// A moment by two clocks. The second one stands still while whoever reads it could not run: by it
// peers are judged, who may have spoken meanwhile.
struct Moment {
  Instant now{};
  Instant awake{};

  // A moment of the first clock as one of the second, if that does not stand still until then.
  Instant awake_at(Instant at) const { return at - (now - awake); }
};

inline double to_seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

// Durations above this are treated as "no limit": about 30 years, far from overflowing an Instant.
inline constexpr Duration kForever = std::chrono::hours(24 * 365 * 30);

inline Duration from_seconds(double seconds) {
  constexpr double kLimit = 24.0 * 365 * 30 * 3600;
  if (!(seconds < kLimit)) return kForever;
  if (seconds < 0) return Duration::zero();
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

// The moment by which a blocking call returns or throws. It remembers when it began, so that errors
// can say how long the caller waited.
class Deadline {
 public:
  static Deadline after(Duration timeout) { return Deadline(now(), timeout); }

  Instant at() const { return at_; }
  Duration timeout() const { return timeout_; }
  Duration left() const { return std::max(Duration::zero(), at_ - now()); }
  Duration elapsed() const { return now() - begin_; }
  bool passed() const { return now() >= at_; }

 private:
  Deadline(Instant begin, Duration timeout)
      : begin_(begin),
        timeout_(std::clamp(timeout, Duration::zero(), kForever)),
        at_(begin + timeout_) {}

  Instant begin_;
  Duration timeout_;
  Instant at_;
};

}  // namespace rdzv
