// What one server knows, for the program that runs it: what is in its name spaces, their runs, and
// what has happened. A copy, which belongs to who asked for it: any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "server/counters.h"
#include "server/timeline.h"

namespace rdzv {

struct ServerCommons;
class Run;

// The events of one timeline, the first of which has that number.
struct ReportedEvents {
  uint64_t first = 1;
  std::vector<Event> events;
};

struct ServerReport {
  // Bytes, by what they are taken for.
  struct Memory {
    size_t input = 0;
    size_t parked = 0;
    size_t unsent = 0;
    size_t runs = 0;
    size_t stored = 0;
    size_t sessions = 0;  // of TLS
  };
  struct Space {
    std::string name;
    size_t keys = 0;
    size_t stored_bytes = 0;
    size_t connections = 0;
    size_t runs = 0;
    size_t run_bytes = 0;
    size_t waits = 0;
  };
  struct Run {
    std::string space;
    std::string id;
    uint64_t round = 0;
    bool complete = false;
    bool closed = false;
    bool failed = false;
    uint64_t finished_round = 0;
    uint32_t min_nodes = 0;  // 0: nobody has joined yet
    uint32_t max_nodes = 0;
    size_t participants = 0;
    size_t waiting = 0;
    size_t spares = 0;
    size_t lost = 0;
    ReportedEvents happened;
  };

  Instant now{};
  uint64_t serial = 0;  // of the event that came last
  size_t connections = 0;
  Memory memory;
  size_t used_bytes = 0;      // of all that is counted
  size_t timeline_bytes = 0;  // of what has happened
  ServerCounters counters{};
  std::vector<Space> spaces;  // the default one first
  std::vector<Run> runs;      // by name space and id
  ReportedEvents warnings;
};

// `after`: the serial of the last event that is known; none: without events.
ServerReport report_of(ServerCommons& commons, std::optional<uint64_t> after);
// Without events.
ServerReport::Run report_of(const std::string& space, const Run& run);

}  // namespace rdzv
