// Connections that are closed and have left much behind: blocked requests, places in runs. They
// live on until that is cleared away, a part of it in a turn. For the others it looks as if a
// connection had broken a little later. Belongs to the server's loop thread.
#pragma once

#include <deque>
#include <memory>

#include "net/event_loop.h"
#include "server/chores.h"

namespace rdzv {

class Connection;

class Departures final : public Chore {
 public:
  Departures(EventLoop& loop, Chores& chores);
  ~Departures() override;

  // A closed one. Retires it when it has left.
  void add(std::unique_ptr<Connection> connection);
  bool work(Budget& budget) override;

  size_t size() const { return leaving_.size(); }

 private:
  EventLoop& loop_;
  Chores& chores_;
  std::deque<std::unique_ptr<Connection>> leaving_;
};

}  // namespace rdzv
