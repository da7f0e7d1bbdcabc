// What has happened to a run, for Python. Private to the package.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>
#include <string>

#include "base/clock.h"
#include "group/node.h"
#include "server/report.h"
#include "server/run_report.h"
#include "wire/run_look_messages.h"

namespace rdzv {

// One event: number, time, kind, round, nodes in the round, duration, node or None, text. Times in
// seconds.
pybind11::tuple event_to_python(uint64_t number, Duration at, native::EventKind kind,
                                uint64_t round, uint32_t nodes, Duration took,
                                const std::optional<NodeId>& node, const std::string& text);
pybind11::dict report_to_python(const ServerReport& report);
pybind11::dict run_report_to_python(const RunReport& report);

}  // namespace rdzv
