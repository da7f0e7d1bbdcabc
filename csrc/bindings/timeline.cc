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
    numbers["waits"] = space.waits;
    spaces[py::str(space.name)] = numbers;
  }
  py::list runs;
  for (const ServerReport::Run& run : report.runs) {
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
    runs.append(made);
  }
  py::dict made;
  made["monotonic_s"] = to_seconds(report.now.time_since_epoch());
  made["connections"] = report.connections;
  made["spaces"] = spaces;
  made["runs"] = runs;
  made["warnings"] = events_to_python(report.warnings);
  return made;
}

}  // namespace rdzv
