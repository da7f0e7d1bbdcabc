// Nodes that gave up for good, and the run that fails because of them: once those that are left,
// with those that were lost and may come back, are fewer than min_nodes, nobody waits any longer;
// or at once, if a node says that the run is not to be restarted.
#include "group/giving_up.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "base/error.h"
#include "base/text.h"
#include "group/group.h"
#include "wire/limits.h"

namespace rdzv {

std::string to_text(const RootCause& cause) {
  // Beyond it there is no calendar.
  constexpr uint64_t kShownMax = uint64_t{253'402'300'799} * 1000;
  namespace chrono = std::chrono;
  const Ending& ending = cause.ending;
  const auto at = chrono::sys_seconds(
      chrono::seconds(static_cast<int64_t>(std::min(ending.unix_ms, kShownMax) / 1000)));
  const auto day = chrono::floor<chrono::days>(at);
  const chrono::year_month_day date(day);
  const chrono::hh_mm_ss time(at - day);
  char when[64];
  std::snprintf(when, sizeof when, "%04d-%02u-%02u %02d:%02d:%02d UTC", int{date.year()},
                unsigned{date.month()}, unsigned{date.day()},
                static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
                static_cast<int>(time.seconds().count()));
  std::string text = "node " + cause.node.addr + " (pid " + std::to_string(cause.node.pid) +
                     ") gave up at " + when + ": exit code " + std::to_string(ending.exit_code);
  if (!ending.last_line.empty())
    text += ", its last line: " + quoted(ending.last_line, limits::kLastLineBytesMax);
  return text;
}

void Group::give_up(const NodeId& node, const Ending& ending, Instant now, bool do_not_restart) {
  look(now);
  const Member* member = state_.roster.find(node);
  if (member == nullptr || member->role == Role::kDone) return;
  if (member->role == Role::kForming || member->role == Role::kActive) {
    if (!state_.cause) {
      state_.cause = RootCause{node, ending};
      state_.cause->ending.last_line.resize(
          std::min(ending.last_line.size(), limits::kLastLineBytesMax));
    }
    lose(node, LossReason::kGaveUp);
  } else {
    remove(node);
  }
  if (do_not_restart) close(to_text(RootCause{node, ending}), ending.unix_ms, true);
  settle(now);
}

uint32_t Group::gave_up() const {
  return static_cast<uint32_t>(
      std::count_if(state_.lost.begin(), state_.lost.end(),
                    [](const auto& each) { return each.second.reason == LossReason::kGaveUp; }));
}

std::string Group::cause_text() const {
  return state_.cause ? to_text(*state_.cause) : std::string();
}

// Who takes part in a complete round goes on until it asks for the next one; all others are
// dismissed.
void Group::fail_if_hopeless() {
  if (!state_.cause || state_.failed_round != 0) return;
  const Roster& roster = state_.roster;
  const size_t left = roster.size() - roster.count(Role::kDone) + state_.lost.size() - gave_up();
  if (left >= state_.settings->min_nodes) return;
  state_.failed_round = std::max<uint64_t>(1, state_.complete ? state_.round : state_.round - 1);
  state_.last_call = 0;
  for (const Role role : {Role::kForming, Role::kWaiting, Role::kSpare})
    state_.roster.remove_all(role);
}

void Group::check_not_failed(uint64_t after_round, const std::string& what) const {
  if (state_.failed_round == 0 || after_round < state_.failed_round) return;
  throw Error(ErrorCode::kRunFailed, what + failed_text());
}

std::string Group::failure() const {
  return state_.do_not_restart ? state_.close_reason : has_failed() ? cause_text() : std::string();
}

std::string Group::failed_text() const {
  if (!state_.do_not_restart)
    return "too few nodes are left because nodes gave up for good: " + cause_text();
  std::string text = "the run has failed for good and is not to be restarted";
  if (!state_.close_reason.empty())
    text += ": " + quoted(state_.close_reason, limits::kLastLineBytesMax);
  return text + "; use another run id for a new job";
}

}  // namespace rdzv
