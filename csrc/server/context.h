// What the connections of one server share. Belongs to the server's loop thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "net/event_loop.h"
#include "server/barrier_view.h"
#include "server/exchange_view.h"
#include "server/runs.h"
#include "store/table.h"
#include "wire/c10d.h"
#include "wire/native.h"

namespace rdzv {

class Connection;

struct ServerContext {
  EventLoop loop;
  Table table;
  Runs runs{*this};
  native::Id128 instance{};
  std::string name;  // "server 127.0.0.1:29400", for log lines

  // Connections with replies to send; flushed at the end of the turn, so that replies to one
  // connection leave together.
  std::vector<Connection*> unsent;

  // Scratch space, so that the steady state allocates nothing.
  std::vector<char> receive_buffer = std::vector<char>(256 * 1024);
  c10d::Request c10d_request;
  std::vector<Bytes> strings;

  ExchangeView exchange_view;
  BarrierView barrier_view;
  // The timer of the key that expires first, if one does.
  std::optional<EventLoop::TimerId> expiry_timer;

  // Tells the sessions whose waits an operation satisfied. Called after every operation that
  // writes.
  void wake();
  // Erases the keys whose time is over. Called before requests are handled, so that none of them
  // sees such a key, however late its timer is.
  void expire();

 private:
  void set_expiry_timer();
};

}  // namespace rdzv
