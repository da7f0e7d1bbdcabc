#include "server/run_record.h"

#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "server/context.h"
#include "server/run.h"

namespace rdzv {

using native::Departure;
using native::EventKind;

namespace {

// Of a job that was killed as a whole, the first ones tell enough.
constexpr size_t kLoggedMax = 16;

EventKind kind_of(Role role) {
  switch (role) {
    case Role::kWaiting:
      return EventKind::kWaiting;
    case Role::kSpare:
      return EventKind::kSpare;
    case Role::kForming:
    case Role::kActive:
    case Role::kDone:
      break;
  }
  return EventKind::kJoined;
}

EventKind kind_of(Departure how) {
  switch (how) {
    case Departure::kLeft:
      return EventKind::kLeft;
    case Departure::kLost:
      return EventKind::kLost;
    case Departure::kFailed:
      return EventKind::kFailed;
    case Departure::kGaveUp:
      return EventKind::kGaveUp;
  }
  return EventKind::kLeft;
}

}  // namespace

RunRecord::RunRecord(ServerContext& context, const Run& run)
    : context_(context), run_(run), timeline_(context.commons.records.timelines) {}

const GroupState& RunRecord::state() const {
  return run_.group().state();
}

void RunRecord::add(EventKind kind, Event event) {
  event.at = context_.clock.now;
  event.kind = kind;
  event.round = state().round;
  event.nodes = static_cast<uint32_t>(state().roster.count(Role::kForming) +
                                      state().roster.count(Role::kActive));
  timeline_.add(std::move(event));
}

void RunRecord::log(LogLevel level, const std::string& text) {
  context_.log(level, "run " + quoted(run_.id()) + ": " + text);
}

void RunRecord::on_joined(const NodeId& node, std::optional<Role> before, std::optional<Role> after,
                          uint64_t round_before) {
  const bool is_as_before = before == after && state().round == round_before;
  if (!after || is_as_before) return;
  ++context_.commons.records.counters.nodes_joined;
  add(kind_of(*after), {.node = node});
}

void RunRecord::on_resumed(const NodeId& node, Resumed how, uint64_t round_before) {
  if (how == Resumed::kRefused) {
    add(EventKind::kRefused, {.node = node, .text = "its place of before is no more; it joins"});
    return;
  }
  add(EventKind::kResumed, {.node = node});
  if (how != Resumed::kReplaced) return;
  log(LogLevel::kWarning, "round " + std::to_string(state().round) + " replaces round " +
                              std::to_string(round_before) +
                              ", which only nodes that had been cut off knew");
}

void RunRecord::on_broken(const NodeId& node, Duration grace) {
  if (run_.group().placement(node).role) add(EventKind::kBroken, {.took = grace, .node = node});
}

void RunRecord::on_gone(const NodeId& node, Departure how, Bytes why, size_t nth) {
  add(kind_of(how), {.node = node, .text = std::string(why)});
  if (how == Departure::kLost) ++context_.commons.records.counters.nodes_lost;
  if (how != Departure::kLost || nth > kLoggedMax || !state().lost.contains(node)) return;
  log(LogLevel::kWarning, "lost node " + to_text(node) + ": " + std::string(why) +
                              (nth == kLoggedMax ? "; further ones are not logged" : ""));
}

void RunRecord::on_timed_out(const NodeId& node, Duration waited, const std::string& who) {
  add(EventKind::kTimedOut, {.took = waited, .node = node, .text = who});
}

void RunRecord::on_refused(const std::string& why) {
  add(EventKind::kRefused, {.text = why});
}

void RunRecord::on_closed(Bytes reason) {
  add(EventKind::kClosed, {.text = std::string(reason)});
}

void RunRecord::on_round(uint64_t round_before) {
  if (state().complete) {
    log(LogLevel::kInfo, "round " + std::to_string(state().round) + " is complete with " +
                             counted(state().world_size, "node"));
    const Duration took = context_.clock.now - forms_since_.value_or(context_.clock.now);
    context_.commons.records.counters.rounds.add(took);
    add(EventKind::kComplete, {.took = took, .node = last_joined()});
  } else if (state().finished_round == round_before) {
    const std::string round = std::to_string(state().finished_round);
    log(LogLevel::kInfo, "the job finished with round " + round);
    add(EventKind::kFinished, {.text = "round " + round});
  }
}

void RunRecord::on_failed() {
  const std::string why = run_.group().failed_text();
  log(LogLevel::kWarning, why);
  add(EventKind::kRunFailed, {.text = why});
}

void RunRecord::settled() {
  const bool forms = !state().complete && state().roster.count(Role::kForming) > 0;
  if (forms != forms_since_.has_value())
    forms_since_ = forms ? std::optional(context_.clock.now) : std::nullopt;
  const std::optional<Duration> left = run_.group().last_call_left(context_.clock.now);
  if (std::exchange(is_last_call_, left.has_value()) || !left) return;
  add(EventKind::kLastCall, {.took = *left});
}

// Of those that are in the round: the others came for the next one.
NodeId RunRecord::last_joined() const {
  for (uint64_t number = timeline_.next(); number > timeline_.first(); --number) {
    const Event& event = timeline_.at(number - 1);
    if (event.kind == EventKind::kComplete) break;
    if (event.kind == EventKind::kJoined) return event.node;
  }
  return {};
}

}  // namespace rdzv
