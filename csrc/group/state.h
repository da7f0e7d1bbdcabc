// What all nodes of a group share: the part of the rulebook that is encoded. What one observer saw
// by its own clock is not here (heartbeats.h). Plain data, changed only by Group and by the
// decoder.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "group/giving_up.h"
#include "group/node.h"
#include "group/roster.h"
#include "group/settings.h"

namespace rdzv {

enum class LossReason : uint8_t {
  kExpired = 0,  // its heartbeat stopped
  kFailed = 1,   // it said that its job broke; it may come back
  kGaveUp = 2,   // it said that its job broke, and that nobody will start it again
};

struct Loss {
  LossReason reason = LossReason::kExpired;
  // Of the last complete round, until it comes back or another node of its address takes it.
  uint32_t rank = kNoRank;
};

struct GroupState {
  std::optional<GroupSettings> settings;  // none until the first node joins
  bool closed = false;
  bool do_not_restart = false;  // of a closed one: it has failed for good
  std::string close_reason;     // of a closed one; may be empty
  uint64_t closed_unix_ms = 0;  // by the clock of who closed it; 0: it is not known
  bool complete = false;
  bool rejoined = false;        // a participant of the complete round has moved to the wait list
  uint64_t round = 1;           // forming, or complete
  uint64_t finished_round = 0;  // the last round that every participant left as done; 0: none
  // The highest round any node said it took part in. A store that lost its data must not hand out
  // old rounds again.
  uint64_t round_floor = 0;
  // Of the job: the nodes of earlier ones are displaced. 0: nobody says.
  uint64_t attempt = 0;
  uint64_t serial = 0;     // the last one drawn; see Member::joined and last_call
  uint64_t last_call = 0;  // the serial of the running last call; 0: none is running
  // The serial at which a newcomer got onto the wait list last; 0: none has since the round was
  // complete.
  uint64_t newcomer = 0;
  uint32_t world_size = 0;  // of the complete round, lost nodes included; 0 while forming
  Roster roster;
  // The first node that gave up since the last round completed.
  std::optional<RootCause> cause;
  // The round after which too few nodes were left because nodes gave up; 0: none.
  uint64_t failed_round = 0;
  // Participants removed since the last round completed, at most kLostNodesMax of them.
  std::map<NodeId, Loss> lost;
};

}  // namespace rdzv
