#include "bindings/timeline.h"

#include <pybind11/stl.h>

#include <iterator>

#include "bindings/convert.h"

namespace py = pybind11;

namespace rdzv {
namespace {

const char* event_name(native::EventKind kind) {
  static constexpr const char* kNames[] = {
      "joined",  "waiting", "spare",    "last_call",  "complete", "broken",
      "resumed", "left",    "lost",     "failed",     "gave_up",  "timed_out",
      "refused", "closed",  "finished", "run_failed", "warning"};
  static_assert(std::size(kNames) == static_cast<size_t>(native::EventKind::kLast) + 1);
  return kNames[static_cast<size_t>(kind)];
}

// By the upper bound of each bucket, in seconds, how many there are; the last one has no bound.
py::dict to_python(const Histogram& histogram) {
  py::list counts;
  for (const uint64_t count : histogram.counts) counts.append(count);
  py::dict made;
  made["counts"] = counts;
  made["sum_s"] = to_seconds(histogram.sum);
  return made;
}

template <size_t kSize, typename Name>
py::dict to_python(const std::array<RequestCounter, kSize>& counters, Name&& name) {
  py::dict made;
  for (size_t code = 0; code < kSize; ++code) {
    if (counters[code].count == 0) continue;
    py::dict one;
    one["count"] = counters[code].count;
    one["took"] = to_python(counters[code].took);
    made[name(code)] = one;
  }
  return made;
}

py::dict to_python(const ServerCounters& counters) {
  py::dict made;
  made["native"] = to_python(counters.native, [](size_t code) {
    return native::name_of(static_cast<native::Operation>(code));
  });
  made["c10d"] = to_python(
      counters.c10d, [](size_t code) { return c10d::name_of(static_cast<c10d::Code>(code)); });
  made["received_bytes"] = counters.received_bytes;
  made["sent_bytes"] = counters.sent_bytes;
  made["connections"] = counters.connections;
  made["secured"] = counters.secured;
  made["refusals"] = counters.refusals;
  made["evictions"] = counters.evictions;
  made["nodes_joined"] = counters.nodes_joined;
  made["nodes_lost"] = counters.nodes_lost;
  made["runs_dropped"] = counters.runs_dropped;
  made["rounds"] = to_python(counters.rounds);
  made["turns"] = to_python(counters.turns);
  return made;
}

py::list events_to_python(const ReportedEvents& happened) {
  py::list events;
  uint64_t number = happened.first;
  for (const Event& event : happened.events) {
    std::optional<NodeId> node;
    if (!event.node.addr.empty()) node = event.node;
    events.append(event_to_python(number++, event.at.time_since_epoch(), event.kind, event.round,
                                  event.nodes, event.took, node, event.text));
  }
  return events;
}

py::dict to_python(const ServerReport::Run& run) {
  py::dict made;
  made["space"] = run.space;
  made["run_id"] = message_to_python(run.id);
  made["round"] = run.round;
  made["complete"] = run.complete;
  made["closed"] = run.closed;
  made["failed"] = run.failed;
  made["finished_round"] = run.finished_round;
  made["min_nodes"] = run.min_nodes;
  made["max_nodes"] = run.max_nodes;
  made["participants"] = run.participants;
  made["waiting"] = run.waiting;
  made["spares"] = run.spares;
  made["lost"] = run.lost;
  made["events"] = events_to_python(run.happened);
  return made;
}

py::dict to_python(const ServerReport::Memory& memory) {
  py::dict made;
  made["input"] = memory.input;
  made["parked"] = memory.parked;
  made["unsent"] = memory.unsent;
  made["runs"] = memory.runs;
  made["stored"] = memory.stored;
  made["tls"] = memory.sessions;
  return made;
}

// Of each: the rank, -1 for none; the node; and how long ago it was heard, in seconds, or None.
py::list to_python(const std::vector<RunReport::Member>& members) {
  py::list made;
  for (const RunReport::Member& each : members) {
    py::object silent = py::none();
    if (each.silent) silent = py::float_(to_seconds(*each.silent));
    made.append(
        py::make_tuple(each.rank == kNoRank ? int64_t{-1} : int64_t{each.rank}, each.node, silent));
  }
  return made;
}

}  // namespace

py::tuple event_to_python(uint64_t number, Duration at, native::EventKind kind, uint64_t round,
                          uint32_t nodes, Duration took, const std::optional<NodeId>& node,
                          const std::string& text) {
  return py::make_tuple(number, to_seconds(at), event_name(kind), round, nodes, to_seconds(took),
                        node, message_to_python(text));
}

py::dict report_to_python(const ServerReport& report) {
  py::dict spaces;
  for (const ServerReport::Space& space : report.spaces) {
    py::dict numbers;
    numbers["keys"] = space.keys;
    numbers["stored_bytes"] = space.stored_bytes;
    numbers["connections"] = space.connections;
    numbers["runs"] = space.runs;
    numbers["run_bytes"] = space.run_bytes;
    numbers["waits"] = space.waits;
    spaces[py::str(space.name)] = numbers;
  }
  py::list runs;
  for (const ServerReport::Run& run : report.runs) {
    runs.append(to_python(run));
  }
  py::dict made;
  made["monotonic_s"] = to_seconds(report.now.time_since_epoch());
  made["serial"] = report.serial;
  made["connections"] = report.connections;
  made["memory"] = to_python(report.memory);
  made["used_bytes"] = report.used_bytes;
  made["timeline_bytes"] = report.timeline_bytes;
  made["counters"] = to_python(report.counters);
  made["spaces"] = spaces;
  made["runs"] = runs;
  made["warnings"] = events_to_python(report.warnings);
  return made;
}

py::dict run_report_to_python(const RunReport& report) {
  py::dict made = to_python(report.run);
  made["monotonic_s"] = to_seconds(report.now.time_since_epoch());
  made["serial"] = report.serial;
  made["world_size"] = report.world_size;
  made["settings"] = report.settings;
  made["last_call_left_s"] = py::none();
  if (report.last_call_left) made["last_call_left_s"] = to_seconds(*report.last_call_left);
  made["suspects"] = report.suspects;
  made["cause"] = message_to_python(report.cause);
  made["close_reason"] = message_to_python(report.close_reason);
  py::dict nodes;
  nodes["participants"] = to_python(report.participants);
  nodes["waiting"] = to_python(report.waiting);
  nodes["spares"] = to_python(report.spares);
  nodes["lost"] = to_python(report.lost);
  made["nodes"] = nodes;
  return made;
}

}  // namespace rdzv
