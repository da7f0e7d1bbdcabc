// When a client's connection is made anew, and what its callers are told meanwhile: for whoever keeps
// one, however it waits. Reads no clock.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"

namespace rdzv {

// A dial goes on for so long, whoever began it: one that had less time is no reason to begin again
// at the next call, which a stopped server would get as a storm.
inline constexpr Duration kDialMin = std::chrono::seconds(5);

// The pause between two suspicions: longer where they were wrong again and again.
class Calm {
 public:
  bool is_over(Instant now) const { return now >= until_; }
  // `was_alive`: the suspicion was wrong.
  void begin(Instant now, bool was_alive) {
    until_ = now + length_;
    length_ = was_alive ? std::min(2 * length_, kMax) : kMin;
  }

 private:
  static constexpr Duration kMin = std::chrono::seconds(1);
  static constexpr Duration kMax = std::chrono::seconds(5);

  Instant until_{};
  Duration length_ = kMin;
};

// Whether a dial that failed so may be tried again by who has time left.
inline bool more_time_may_help(ErrorCode code) {
  return code == ErrorCode::kConnection || code == ErrorCode::kNoAnswer;
}

inline Error closed_error(const std::string& store) {
  return {ErrorCode::kClosed, store + " was closed; create a new store"};
}

inline Error restarted_error(const std::string& store) {
  return {ErrorCode::kRestarted,
          store +
              ": the server was restarted and its data is lost; only calls from before the restart "
              "fail, the next call uses the new server"};
}

inline Error other_process_error(const std::string& store, int64_t owner_pid) {
  return {ErrorCode::kClosed,
          store + " was created by process " + std::to_string(owner_pid) +
              " and cannot be used in a forked child; create a new store there"};
}

// Why a suspected connection was given up.
inline std::string replaced_text(Duration silent) {
  return "it received no data for " + seconds_text(silent) +
         ", and the server answers on a new connection";
}

}  // namespace rdzv
