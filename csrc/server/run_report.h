// One run with all its nodes, for the program that runs the server: a copy, which belongs to who asked
// for it: any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "group/facts.h"
#include "group/node.h"
#include "group/settings.h"
#include "server/report.h"
#include "wire/run_look_messages.h"

namespace rdzv {

struct ServerCommons;

struct RunReport {
  struct Member {
    NodeId node;
    uint32_t rank = kNoRank;           // of participants of a complete round
    std::optional<Duration> silent{};  // how long ago it was heard; none: nobody watches it
  };

  Instant now{};
  uint64_t serial = 0;  // of the event of any run that came last
  ServerReport::Run run;
  uint32_t world_size = 0;
  std::optional<GroupSettings> settings;
  std::optional<Duration> last_call_left;
  uint32_t suspects = 0;
  std::string cause;
  std::string close_reason;
  // As the members of native::MemberList, and in their order.
  std::vector<Member> participants;
  std::vector<Member> waiting;
  std::vector<Member> spares;
  std::vector<Member> lost;
};

// What else is asked about a run, beside its nodes.
struct RunQuestion {
  std::string space;
  std::string run_id;
  size_t events_max = 0;  // the last ones
};

// None: there is no such run.
std::optional<RunReport> report_of_run(ServerCommons& commons, const RunQuestion& question);
// Of each address, whether clients of the name space come from there.
std::vector<native::HostState> host_states_of(ServerCommons& commons, Bytes space,
                                              const std::vector<std::string>& addresses);
// The value at a key of the name space. None: there is no value.
std::optional<std::string> value_of(ServerCommons& commons, Bytes space, Bytes key);

}  // namespace rdzv
