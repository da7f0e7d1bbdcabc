// Connections that have not said yet who they are: no HELLO, no VALIDATE. All have the same time
// for it, so one timer and the order of their coming are enough.
#pragma once

#include <list>
#include <optional>

#include "base/clock.h"
#include "base/timers.h"

namespace rdzv {

class Connection;
struct ServerCommons;

class Greetings {
 public:
  struct Awaited {
    Connection* connection;
    Instant until;
  };
  using Place = std::list<Awaited>::iterator;

  explicit Greetings(ServerCommons& commons) : commons_(commons) {}

  Place await(Connection& connection);
  // It has said so, or it is gone.
  void forget(Place place) { awaited_.erase(place); }

 private:
  void arm();
  void on_time();

  ServerCommons& commons_;
  std::list<Awaited> awaited_;  // who came first is first
  std::optional<Timers::Id> timer_;
};

}  // namespace rdzv
