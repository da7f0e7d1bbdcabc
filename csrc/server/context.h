// What the connections of one server share. Reads no clock and knows no socket: its clock is what
// whoever calls says it is. One thread at a time.
#pragma once

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
#include "server/connections.h"
#include "server/exchanges.h"
#include "server/limits.h"
#include "server/meeting_view.h"
#include "server/memory.h"
#include "server/runs.h"
#include "server/state.h"
#include "server/timeline.h"
#include "server/upkeep.h"
#include "wire/c10d.h"
#include "wire/native.h"

namespace rdzv {

// Stands still while something is handled.
struct ServerClock : Moment {
  void set(const Moment& time) { Moment::operator=(time); }

  Timers timers;
  Timers awake_timers;  // those that judge a peer, by Moment::awake
};

// Space to work in, so that the steady state allocates nothing; and what was made once for all who
// ask for the same.
struct Composed {
  Composed(ServerState& state, Budget& budget)
      : answers(state.view(), budget, ~Exchanges::kMarks),
        exchanges(state.view()),
        meetings(state.seed(), budget) {}

  c10d::Request c10d_request;
  AnswerCache answers;
  Exchanges exchanges;
  MeetingView meetings;
};

struct ServerContext {
  // `seed`: nobody who chooses keys may know it. `server_instance` is another one whenever a server
  // begins without what the last one knew. `of_one_job`: see native::kOfOneJob.
  ServerContext(const ServerLimits& server_limits, std::string server_name, HashSeed seed,
                const native::Id128& server_instance, bool of_one_job = false);

  // The one way to change what is kept.
  template <typename Made>
  auto apply(const Made& change) {
    return state.apply(change, clock);
  }
  // Called after every operation that writes, and before requests are handled (upkeep.h).
  void wake() { upkeep.wake(); }
  void expire() { upkeep.expire(); }
  // Whether the store has no room for so many bytes more.
  bool is_full(size_t more) const { return state.table().bytes() + more > limits.stored_bytes; }
  std::string full_text() const;
  // Why so many keys are not set at once; nothing: they are.
  std::optional<std::string> refuse_multi_set(size_t keys) const;
  // Warnings are kept for those who ask afterwards, too.
  void log(LogLevel level, const std::string& text);

  // What is done at the end of a turn: keys that are due, connections that were put off, answers
  // that leave together. True: there is more of it.
  bool end_turn();

  const ServerLimits limits;
  const native::Id128 instance;
  const bool is_of_one_job;
  const std::string name;  // "server 127.0.0.1:29400", for log lines

  // The last one that was used (run_followers.h).
  uint64_t run_version;

  ServerClock clock;  // the time of what is being handled
  ServerMemory memory;
  Timelines timelines{limits.timeline_bytes};
  Timeline warnings{timelines};
  ServerState state;
  // Of the connection whose requests are being handled, or of the chore.
  Budget budget;
  // What operations have left for later turns.
  Chores chores{budget};
  Runs runs{*this};
  Composed composed{state, budget};
  Upkeep upkeep{*this};
  std::vector<Bytes> strings;  // space to work in
  // How long a peer that has ended its stream may take none of the answers that are left for it.
  Duration last_answers_kept = std::chrono::seconds(30);
  // The last one: what is left of them goes before what it uses.
  Connections connections{*this};
};

}  // namespace rdzv
