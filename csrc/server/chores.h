// What operations have left for later, because there was too much of it for one turn: those who
// were woken and are not told yet, what a connection that is gone has left behind, nodes that a
// round has to be told to. Each chore has a slice at a time, one after the other, at the end of
// turns. Reads no clock: what a turn may cost is counted.
#pragma once

#include <cstddef>

#include "server/budget.h"

namespace rdzv {

class Chores;

class Chore {
 public:
  Chore() = default;
  Chore(const Chore&) = delete;
  Chore& operator=(const Chore&) = delete;
  virtual ~Chore();

  // Does a part of it, and spends. True: nothing is left; it may be gone then. False: it is called
  // again.
  virtual bool work(Budget& budget) = 0;

 private:
  friend class Chores;
  Chores* chores_ = nullptr;  // null: there is nothing to do
  // Among those that wait. Here, so that beginning allocates nothing, and idle ones cost little.
  Chore* before_ = nullptr;
  Chore* behind_ = nullptr;
};

class Chores {
 public:
  // `budget` is the one that whoever works spends from.
  explicit Chores(Budget& budget) : budget_(budget) {}
  Chores(const Chores&) = delete;
  Chores& operator=(const Chores&) = delete;

  // There is something to do. It lives until it is done, or forgets it by its own end.
  void begin(Chore& chore) noexcept;
  void end(Chore& chore);
  // Spends about so many units. True: there is more to do.
  bool work(size_t units);
  bool empty() const { return first_ == nullptr; }

 private:
  Budget& budget_;
  Chore* first_ = nullptr;
  Chore* last_ = nullptr;
};

}  // namespace rdzv
