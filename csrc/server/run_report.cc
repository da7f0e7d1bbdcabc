#include "server/run_report.h"

#include <algorithm>
#include <utility>

#include "server/commons.h"
#include "server/context.h"

namespace rdzv {
namespace {

// Null: there is no such name space.
ServerContext* context_of(ServerCommons& commons, Bytes space) {
  ServerContext* found = nullptr;
  commons.spaces.for_each([&](ServerContext& context) {
    if (context.space == space) found = &context;
  });
  return found;
}

ReportedEvents last_events_of(const Timeline& timeline, size_t max) {
  const uint64_t count = std::min<uint64_t>(max, timeline.next() - timeline.first());
  ReportedEvents found{timeline.next() - count, {}};
  for (uint64_t number = found.first; number < timeline.next(); ++number)
    found.events.push_back(timeline.at(number));
  return found;
}

void add_members(const Group& group, RunReport& report) {
  const GroupState& state = group.state();
  const Roster& roster = state.roster;
  const auto heard = [&](const NodeId& node) { return group.silence_of(node, report.now); };
  for (const auto& [node, member] : roster.list(Role::kActive)) {
    if (member.role == Role::kForming || member.role == Role::kActive)
      report.participants.push_back({node, state.complete ? member.rank : kNoRank, heard(node)});
  }
  roster.expected().for_each(
      [&](uint32_t rank) {
        report.participants.push_back({stand_in(rank), rank});
        return true;
      },
      0);
  for (const auto& [node, member] : roster.list(Role::kWaiting))
    report.waiting.push_back({node, kNoRank, heard(node)});
  for (const auto& [serial, node] : roster.spares())
    report.spares.push_back({node, kNoRank, heard(node)});
  for (const auto& [node, loss] : state.lost) report.lost.push_back({node});
}

}  // namespace

std::optional<RunReport> report_of_run(ServerCommons& commons, const RunQuestion& question) {
  ServerContext* context = context_of(commons, question.space);
  const Run* run = context == nullptr ? nullptr : context->runs.find(question.run_id);
  if (run == nullptr || !run->is_held()) return std::nullopt;
  const GroupState& state = run->group().state();
  const native::StatusReply status = run->status({});
  RunReport report;
  report.now = commons.clock.now;
  report.serial = commons.records.timelines.serial();
  report.run = report_of(context->space, *run);
  report.run.happened = last_events_of(run->timeline(), question.events_max);
  report.world_size = status.world_size;
  report.settings = state.settings;
  report.last_call_left = run->group().last_call_left(commons.clock.now);
  report.suspects = status.suspects;
  report.cause = std::string(status.cause);
  report.close_reason = state.close_reason;
  add_members(run->group(), report);
  return report;
}

std::vector<native::HostState> host_states_of(ServerCommons& commons, Bytes space,
                                              const std::vector<std::string>& addresses) {
  std::vector<native::HostState> states(addresses.size(), native::HostState::kNever);
  const ServerContext* context = context_of(commons, space);
  if (context == nullptr) return states;
  std::ranges::transform(addresses, states.begin(),
                         [&](const std::string& address) { return context->hosts.state(address); });
  return states;
}

std::optional<std::string> value_of(ServerCommons& commons, Bytes space, Bytes key) {
  const ServerContext* context = context_of(commons, space);
  if (context == nullptr) return std::nullopt;
  const TableView::Value* value = context->state.table().find(key);
  if (value == nullptr) return std::nullopt;
  return std::string(value->bytes);
}

}  // namespace rdzv
