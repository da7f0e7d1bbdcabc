// One name space: what the connections that are in it share, and those of others know nothing of. What
// all name spaces share is in commons.h, and reached through it. One thread at a time.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/answer_cache.h"
#include "server/commons.h"
#include "server/exchanges.h"
#include "server/hosts.h"
#include "server/meeting_view.h"
#include "server/runs.h"
#include "server/state.h"
#include "server/timeline.h"
#include "server/upkeep.h"
#include "wire/c10d.h"
#include "wire/native.h"

namespace rdzv {

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
  // `keys_at_first`: for so many there is room from the start. `behind`: its versions are higher.
  ServerContext(ServerCommons& of, Bytes space_name, size_t keys_at_first, uint64_t behind);
  ~ServerContext();

  // The one way to change what is kept.
  template <typename Made>
  auto apply(const Made& change) {
    return state.apply(change, clock);
  }
  // Called after every operation that writes, and before requests are handled (upkeep.h).
  void wake() {
    note_active();
    note_stored();
    upkeep.wake();
  }
  void expire() {
    note_active();
    upkeep.expire();
  }
  // Something is going on here: it is looked at when the turn ends.
  void note_active() {
    if (!std::exchange(is_active, true)) commons.spaces.note_active(*this);
  }
  // Whether there is no room for a request that stores so many bytes more, and why.
  bool is_full(size_t more);
  std::string full_text(size_t more) const;
  // Which limit of its own is reached, for messages.
  std::string text_of(const SpaceLimit& reached) const {
    commons.spaces.miss_quota();
    return reached.text();
  }
  // Why these keys, each with its value behind it, are not set at once; nothing: they are. Of a request
  // that is_full() has let pass.
  std::optional<std::string> refuse_multi_set(const std::vector<Bytes>& pairs);
  // Why there is no room for those that wait and so many more; nothing: there is.
  std::optional<std::string> refuse_waits(size_t more);
  size_t waits() const { return state.table().waiters() + run_waits; }
  // Warnings are kept for those who ask afterwards, too.
  void log(LogLevel level, const std::string& text);

  struct Census {
    size_t keys;
    size_t stored_bytes;
    size_t connections;
    size_t runs;
    size_t run_bytes;
    size_t waits;
  };
  Census census() const {
    return {state.table().size(), state.table().bytes(), speakers,
            runs.size(),          runs.memory().used(),  waits()};
  }

  // At the end of a turn.
  void trim();
  // Nobody is in it, and nothing is kept.
  bool is_unused() const;

  ServerCommons& commons;
  const std::string space;
  const std::string name;  // for log lines

  // Those of all name spaces.
  const ServerLimits& limits;
  const native::Id128& instance;
  ServerClock& clock;
  ServerMemory& memory;
  Budget& budget;
  Chores& chores;
  std::vector<Bytes>& strings;
  Connections& connections;

  SpaceLimits own_limits;
  // What it warned of. Before the runs, which add to it.
  Timeline warnings;

  // The last one that was used (run_followers.h).
  uint64_t run_version;
  size_t users = 0;      // connections that are in it, and those of them that are going
  size_t speakers = 0;   // those that have said which protocol they speak
  size_t run_waits = 0;  // JOINs, SUBSCRIBEs and FOLLOWs
  bool is_active = false;

  ServerState state;
  Runs runs{*this};
  Composed composed{state, budget};
  Upkeep upkeep{*this};
  // From where those in it come, and came.
  Hosts hosts;

 private:
  bool has_room(size_t more) const;
  void note_stored() {
    stored_.resize(state.table().bytes());
    keys_.resize(state.table().size());
  }

  // Of what all have.
  Charge stored_;
  Charge keys_;
  Charge waits_;
};

}  // namespace rdzv
