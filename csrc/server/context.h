// What the connections of one server share. Reads no clock and knows no socket: `time` is what
// whoever calls says it is. One thread at a time.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/timers.h"
#include "server/answer_cache.h"
#include "server/budget.h"
#include "server/chores.h"
#include "server/departures.h"
#include "server/exchanges.h"
#include "server/greetings.h"
#include "server/limits.h"
#include "server/meeting_view.h"
#include "server/memory.h"
#include "server/runs.h"
#include "server/state.h"
#include "wire/c10d.h"
#include "wire/native.h"

namespace rdzv {

class Connection;

struct ServerContext {
  // `seed`: nobody who chooses keys may know it. `server_instance` is another one whenever a server
  // begins without what the last one knew.
  ServerContext(const ServerLimits& server_limits, std::string server_name, HashSeed hash_seed,
                const native::Id128& server_instance);
  ~ServerContext();

  const ServerLimits limits;
  const HashSeed seed;
  const native::Id128 instance;
  const std::string name;  // "server 127.0.0.1:29400", for log lines

  Moment time;  // of what is being handled
  Timers timers;
  Timers awake_timers;  // those that judge a peer, by Moment::awake

  ServerMemory memory;
  ServerState state{seed};
  // Of the connection whose requests are being handled, or of the chore.
  Budget budget;
  // What operations have left for later turns.
  Chores chores{budget};
  Runs runs{*this};

  // How long a peer that has ended its stream may take none of the answers that are left for it.
  Duration last_answers_kept = std::chrono::seconds(30);

  // All that are not closed, in no order.
  std::vector<std::unique_ptr<Connection>> open;
  Greetings greetings{*this};
  // Connections with replies to send; flushed at the end of the turn, so that replies to one
  // connection leave together.
  std::vector<Connection*> unsent;
  // Connections whose budget was spent before their requests were. Each goes on when all that were
  // there before it have.
  std::deque<Connection*> put_off;
  // Those that have something new to say, when enough was spent in a turn: they come first.
  std::deque<Connection*> unserved;
  size_t first_slices = 0;  // what was spent for them in this turn

  // Scratch space, so that the steady state allocates nothing.
  c10d::Request c10d_request;
  std::vector<Bytes> strings;

  AnswerCache answers{state.view(), budget, ~Exchanges::kMarks};
  Exchanges exchanges{state.view()};
  MeetingView meeting_view{seed, budget};

  // The one way to change what is kept.
  template <typename Made>
  auto apply(const Made& change) {
    return state.apply(change, time);
  }
  void log(LogLevel level, const std::string& text) const;

  // Whether the store has no room for so many bytes more.
  bool is_full(size_t more) const { return state.table().bytes() + more > limits.stored_bytes; }
  std::string full_text() const;

  // Tells those whose waits an operation satisfied. Called after every operation that
  // writes.
  void wake();
  // Erases keys whose time is over, once in a turn. Called before requests are handled, so that
  // none of them sees such a key, however late its timer is; of very many, some are seen a little
  // longer. Time in which the server was stalled does not count: what renews a key may lie unread.
  void expire();
  // What is done at the end of a turn: keys that are due, connections that were put off, answers
  // that leave together. True: there is more of it.
  bool end_turn();

 private:
  // Tells more of those who were woken.
  class Waking final : public Chore {
   public:
    explicit Waking(ServerContext& context) : context_(context) {}
    bool work(Budget& left) override;

   private:
    ServerContext& context_;
  };
  void tell(std::vector<Table::Woken> woken);
  void set_expiry_timer();
  bool flush_some();
  void forget_closed();
  void go_on();
  size_t go_on(std::deque<Connection*>& those, size_t units);

  Waking waking_{*this};
  // Of the key that expires first, if one does.
  std::optional<Timers::Id> expiry_timer_;
  bool has_expired_ = false;  // in this turn
  bool is_overdue_ = false;

 public:
  // The last one: what is left of connections goes before what it uses.
  Departures departures{chores};
};

}  // namespace rdzv
