// What one connection may make the server do in one turn of its loop, so that nobody waits for long
// behind somebody who asks for much. Whatever runs over what a peer sent, or over what the server
// keeps, spends from it, and stops when it is spent; the connection goes on in a later turn, after
// the others. Counted and not timed, so that the same requests do the same in every run.
//
// The unit is about 50 ns of a core.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace rdzv {

class Budget {
 public:
  // Of a connection that has something new to say: little, as many who do get it in one turn.
  static constexpr size_t kFirstSlice = 1'000;
  // Of all first slices of one turn: whoever comes later has to wait for the next, but not behind
  // those that go on.
  static constexpr size_t kFirstSlices = 18'000;
  // Of one that goes on.
  static constexpr size_t kSlice = 6'000;
  // Of all that go on, in one turn.
  static constexpr size_t kTurn = 8'000;
  // Of what was left for later (chores.h): at a time, and in one turn.
  static constexpr size_t kChoreSlice = 4'000;
  static constexpr size_t kChores = 6'000;
  // Of timers that are due, in one turn, of either clock.
  static constexpr size_t kTimers = 4'000;

  // What things cost.
  static constexpr size_t kRequest = 8;
  static constexpr size_t kKey = 3;      // looked up
  static constexpr size_t kSlot = 5;     // looked up, of an exchange with many
  static constexpr size_t kKeySet = 12;  // written, perhaps a new one
  static constexpr size_t kKeyGone = 8;  // erased
  static constexpr size_t kNoted = 6;    // a change that a watched prefix has
  static constexpr size_t kPart = 2;     // of what is no longer remembered of a watched prefix
  static constexpr size_t kName = 2;     // visited
  static constexpr size_t kNode = 60;    // that joins, leaves or comes back
  static constexpr size_t kGone = 8;     // likewise, cleared out of memory
  static constexpr size_t kPlace = 2;    // of a node, when a round begins or ends
  static constexpr size_t kTell = 30;    // a node or a subscriber of such a change
  static constexpr size_t kWait = 20;    // of a request that waits
  static constexpr size_t kTimer = 20;   // that is due, with what it tells
  static constexpr size_t kWake = 20;    // of one who waited, with its answer
  static constexpr size_t kLeave = 20;   // of a blocked request whose connection is gone
  static constexpr size_t kBytesAUnit = 256;
  static constexpr size_t kBytesKeptAUnit = 64;  // received, and kept until there are more

  void give(size_t units) {
    given_ = units;
    spent_ = 0;
    requests_left_ = SIZE_MAX;
  }
  // After so many requests it is spent.
  void allow_requests(size_t requests) { requests_left_ = requests; }
  size_t requests_left() const { return requests_left_; }
  void count_request() {
    if (--requests_left_ == 0) spent_ = std::max(spent_, given_);
  }
  void spend(size_t units) { spent_ += units; }
  bool is_spent() const { return spent_ >= given_; }
  // How many things of this cost it is good for, at least one.
  size_t good_for(size_t cost) const {
    return std::max<size_t>(is_spent() ? 0 : (given_ - spent_) / cost, 1);
  }
  size_t spent() const { return spent_; }
  // What is left of it.
  size_t left() const { return given_ - std::min(spent_, given_); }
  // What had to be done at once although there was no budget for it.
  size_t overdrawn() const { return spent_ - std::min(spent_, given_); }
  // The same, which whoever calls takes upon himself.
  size_t take_debt() {
    const size_t debt = overdrawn();
    spent_ -= debt;
    return debt;
  }

 private:
  size_t given_ = 0;
  size_t spent_ = 0;
  size_t requests_left_ = SIZE_MAX;
};

}  // namespace rdzv
