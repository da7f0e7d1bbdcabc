// What the connections of one server share. Belongs to the server's loop thread.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "net/event_loop.h"
#include "server/answer_cache.h"
#include "server/meeting_view.h"
#include "server/budget.h"
#include "server/greetings.h"
#include "server/limits.h"
#include "server/memory.h"
#include "server/runs.h"
#include "store/table.h"
#include "wire/c10d.h"
#include "wire/native.h"

namespace rdzv {

class Connection;

struct ServerContext {
  explicit ServerContext(const ServerLimits& server_limits = {}) : limits(server_limits) {
    table.index_names();
  }

  const ServerLimits limits;
  ServerMemory memory;
  EventLoop loop;
  const HashSeed seed = random_seed();
  Table table{seed};
  Runs runs{*this};
  native::Id128 instance{};
  std::string name;  // "server 127.0.0.1:29400", for log lines

  // How long a peer that has ended its stream may take none of the answers that are left for it.
  Duration last_answers_kept = std::chrono::seconds(30);

  // All that are not closed, in no order.
  std::vector<Connection*> open;
  Greetings greetings{*this};
  // Connections with replies to send; flushed at the end of the turn, so that replies to one
  // connection leave together.
  std::vector<Connection*> unsent;
  // Connections whose budget was spent before their requests were. Each goes on when all that were
  // there before it have.
  std::deque<Connection*> put_off;
  // Of the connection whose requests are being handled.
  Budget budget;

  // Scratch space, so that the steady state allocates nothing.
  std::vector<char> receive_buffer = std::vector<char>(256 * 1024);
  c10d::Request c10d_request;
  std::vector<Bytes> strings;

  AnswerCache answers{table, budget};
  MeetingView meeting_view{seed};

  // Whether the store has no room for so many bytes more.
  bool is_full(size_t more) const { return table.bytes() + more > limits.stored_bytes; }
  std::string full_text() const;

  // Tells the sessions whose waits an operation satisfied. Called after every operation that
  // writes.
  void wake();
  // Erases keys whose time is over, once in a turn. Called before requests are handled, so that
  // none of them sees such a key, however late its timer is; of very many, some are seen a little
  // longer. Time in which the server was stalled does not count: what renews a key may lie unread.
  void expire();
  // What is done at the end of a turn: keys that are due, connections that were put off. True:
  // there is more of it.
  bool end_turn();

 private:
  void set_expiry_timer();
  bool go_on();

  // Of the key that expires first, if one does.
  std::optional<EventLoop::TimerId> expiry_timer_;
  bool has_expired_ = false;  // in this turn
  bool is_overdue_ = false;
};

}  // namespace rdzv
