// What one connection may make the server do in one turn of its loop, so that nobody waits for long
// behind somebody who asks for much. Whatever runs over what a peer sent, or over what the server
// keeps, spends from it, and stops when it is spent; the connection goes on in a later turn, after
// the others. Counted and not timed, so that the same requests do the same in every run.
//
// The unit is about 50 ns of a core.
#pragma once

#include <algorithm>
#include <cstddef>

namespace rdzv {

class Budget {
 public:
  // Of a connection that has something new to say: little, as all who do get it in one turn.
  static constexpr size_t kFirstSlice = 2'000;
  // Of one that goes on.
  static constexpr size_t kSlice = 8'000;
  // Of all that go on, in one turn: 1 ms.
  static constexpr size_t kTurn = 20'000;

  // What things cost.
  static constexpr size_t kRequest = 8;
  static constexpr size_t kKey = 3;      // looked up
  static constexpr size_t kKeyGone = 8;  // erased
  static constexpr size_t kName = 2;     // visited
  static constexpr size_t kNode = 100;   // that joins, leaves or comes back
  static constexpr size_t kPlace = 12;   // of a node, when a round begins or ends
  static constexpr size_t kBytesAUnit = 256;

  void give(size_t units) { left_ = given_ = units; }
  void spend(size_t units) { left_ -= std::min(units, left_); }
  bool is_spent() const { return left_ == 0; }
  // How many things of this cost it is good for, at least one.
  size_t good_for(size_t cost) const { return std::max<size_t>(left_ / cost, 1); }
  size_t spent() const { return given_ - left_; }

 private:
  size_t given_ = 0;
  size_t left_ = 0;
};

}  // namespace rdzv
