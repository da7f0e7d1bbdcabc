// Connections that are closed. One that has left much behind, blocked requests and places in runs,
// lives on until that is cleared away, a part of it in a turn. For the others it looks as if a
// connection had broken a little later. One thread at a time.
#pragma once

#include <memory>

#include "server/chores.h"

namespace rdzv {

class Connection;

class Departures final : public Chore {
 public:
  explicit Departures(Chores& chores);
  ~Departures() override;

  // A closed one, which may be in use: nothing is allocated for it, so that it is not lost.
  void add(std::unique_ptr<Connection> connection) noexcept;
  bool work(Budget& budget) override;

  // Whether there are new ones, or ones that have left, since forget().
  bool any_new() const { return any_new_; }
  // Destroys those that have left. Nobody speaks of them any more.
  void forget();

 private:
  Chores& chores_;
  // The first of those that have something to clear away, and of those that have not; each has the
  // next.
  std::unique_ptr<Connection> leaving_;
  std::unique_ptr<Connection> gone_;
  bool any_new_ = false;
};

}  // namespace rdzv
