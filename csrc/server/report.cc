#include "server/report.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "server/commons.h"
#include "server/context.h"

namespace rdzv {
namespace {

ReportedEvents events_of(const Timeline& timeline, std::optional<uint64_t> after) {
  uint64_t number = timeline.next();
  while (after && number > timeline.first() && timeline.at(number - 1).serial > *after) --number;
  ReportedEvents found{number, {}};
  for (; number < timeline.next(); ++number) found.events.push_back(timeline.at(number));
  return found;
}

}  // namespace

ServerReport::Run report_of(const std::string& space, const Run& run) {
  const GroupState& state = run.group().state();
  const Roster& roster = state.roster;
  ServerReport::Run found;
  found.space = space;
  found.id = run.id();
  found.round = state.round;
  found.complete = state.complete;
  found.closed = state.closed;
  found.failed = state.failed_round != 0;
  found.finished_round = state.finished_round;
  if (state.settings) {
    found.min_nodes = static_cast<uint32_t>(state.settings->min_nodes);
    found.max_nodes = static_cast<uint32_t>(state.settings->max_nodes);
  }
  found.participants = roster.count(Role::kForming) + roster.count(Role::kActive);
  found.waiting = roster.count(Role::kWaiting);
  found.spares = roster.count(Role::kSpare);
  found.lost = state.lost.size();
  return found;
}

ServerReport report_of(ServerCommons& commons, std::optional<uint64_t> after) {
  ServerReport report;
  report.now = commons.clock.now;
  report.connections = commons.connections.open.size();
  report.serial = commons.records.timelines.serial();
  const ServerMemory& memory = commons.memory;
  report.memory = {memory.input.used(), memory.parked.used(), memory.unsent.used(),
                   memory.runs.used(),  memory.stored.used(), memory.sessions.used()};
  report.used_bytes = memory.used();
  report.timeline_bytes = commons.records.timelines.bytes();
  report.counters = commons.records.counters;
  report.warnings = events_of(commons.records.warnings, after);
  commons.spaces.for_each([&](ServerContext& context) {
    const ServerContext::Census census = context.census();
    report.spaces.push_back({context.space, census.keys, census.stored_bytes, census.connections,
                             census.runs, census.run_bytes, census.waits});
    context.runs.for_each([&](const Run& run) {
      report.runs.push_back(report_of(context.space, run));
      report.runs.back().happened = events_of(run.timeline(), after);
    });
  });
  std::ranges::sort(report.runs, [](const ServerReport::Run& a, const ServerReport::Run& b) {
    return std::tie(a.space, a.id) < std::tie(b.space, b.id);
  });
  return report;
}

}  // namespace rdzv
