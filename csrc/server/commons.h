// What all name spaces of one server share: its limits and its clock, memory, whose turn it is, and
// the connections. Here is what a name space may not have more of because it is several; what is in
// one is its own (context.h). Reads no clock and knows no socket: its clock is what whoever calls
// says it is. One thread at a time.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/timers.h"
#include "server/audit.h"
#include "server/budget.h"
#include "server/chores.h"
#include "server/connections.h"
#include "server/counters.h"
#include "server/limits.h"
#include "server/memory.h"
#include "server/rates.h"
#include "server/spaces.h"
#include "server/timeline.h"
#include "wire/native.h"

namespace rdzv {

// Stands still while something is handled.
struct ServerClock : Moment {
  void set(const Moment& time) { Moment::operator=(time); }

  Timers timers;
  Timers awake_timers;  // those that judge a peer, by Moment::awake
};

// What is remembered and said of what happens: nothing depends on it.
struct ServerRecords {
  explicit ServerRecords(ServerCommons& commons);

  ServerCounters counters{};
  CountedRequest::Clock stopwatch = nullptr;  // for measurements alone
  Timelines timelines;
  Timeline warnings;  // of all name spaces
  Audit audit;
};

struct ServerCommons {
  // `seed`: nobody who chooses keys may know it. `server_instance` is another one whenever a server
  // begins without what the last one knew. `of_one_job`: see native::kOfOneJob.
  ServerCommons(const ServerLimits& server_limits, std::string server_name, HashSeed hash_seed,
                const native::Id128& server_instance, bool of_one_job = false);

  // The default name space, where whoever proves nothing is.
  ServerContext& home() { return spaces.home(); }
  // Warnings are kept for those who ask afterwards, too.
  void log(LogLevel level, const std::string& text) { write(level, name + ": " + text); }
  // A whole line.
  void write(LogLevel level, const std::string& line);

  // What is done at the end of a turn: keys that are due, connections that were put off, answers
  // that leave together. True: there is more of it.
  bool end_turn();

  const ServerLimits limits;
  const native::Id128 instance;
  const bool is_of_one_job;
  const std::string name;  // "server 127.0.0.1:29400", for log lines
  const HashSeed seed;

  ServerClock clock;  // the time of what is being handled
  ServerMemory memory;
  // Of the connection whose requests are being handled, or of the chore.
  Budget budget;
  // What operations have left for later turns.
  Chores chores{budget};
  std::vector<Bytes> strings;  // space to work in
  // How long a peer that has ended its stream may take none of the answers that are left for it.
  Duration last_answers_kept = std::chrono::seconds(30);
  ServerRecords records{*this};
  Rates rates{limits.requests_per_second_per_address, seed};
  Spaces spaces;
  // The last one: what is left of them goes before what it uses.
  Connections connections{*this};
};

}  // namespace rdzv
