// All connections of one server, and whose turn it is: those that are open, those that have answers
// to send, those that wait for their next slice, and those that have gone. One thread at a time.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

#include "server/departures.h"
#include "server/greetings.h"

namespace rdzv {

class Budget;
class Connection;
struct ServerCommons;

class Connections {
 public:
  explicit Connections(ServerCommons& commons);
  // Whoever closes tells others, so nobody is destroyed before all are closed.
  ~Connections();

  // At the end of a turn: those that were put off go on; answers leave. The second one is true if
  // there are more of them.
  void go_on();
  bool flush_some();
  // What is closed does not live into the next turn, unless it has left something behind.
  void forget_closed();

  // All that are not closed, in no order.
  std::vector<std::unique_ptr<Connection>> open;
  Greetings greetings;
  // Connections with replies to send; flushed at the end of the turn, so that replies to one
  // connection leave together.
  std::vector<Connection*> unsent;
  // Connections whose budget was spent before their requests were. Each goes on when all that were
  // there before it have.
  std::deque<Connection*> put_off;
  // Those that have something new to say, when enough was spent in a turn: they come first.
  std::deque<Connection*> unserved;
  size_t first_slices = 0;  // what was spent for them in this turn
  Departures departures;

 private:
  size_t go_on(std::deque<Connection*>& those, size_t units);

  Budget& budget_;
};

}  // namespace rdzv
