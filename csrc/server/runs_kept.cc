// Which runs are kept when nobody is connected to them: idle ones, which nobody is in, so that
// their rounds go on counting; and abandoned ones, whose nodes may come back. The longest unused go
// first, when their time is over or others need the place.
#include <utility>

#include "base/text.h"
#include "server/context.h"
#include "server/runs.h"

namespace rdzv {

void Runs::release_if_idle(Kept& run) {
  const bool is_idle = run.is_idle();
  if (is_idle && !run.is_held()) {
    forget(run);
    return;
  }
  std::list<Kept*>* among = is_idle ? &idle_ : run.is_abandoned() ? &abandoned_ : nullptr;
  if (run.among == among) return;
  if (run.among != nullptr) run.among->erase(run.at);
  run.among = among;
  if (among == nullptr) return;
  run.at = among->insert(among->end(), &run);
  run.since = context_.clock.now;
  if (idle_.size() > context_.limits.idle_runs) forget(*idle_.front());
  arm_idle_timer();
}

// Of `needed` alone nothing goes: it is about to be used.
bool Runs::make_room(const Kept* needed, bool changes) {
  const ServerLimits& limits = context_.limits;
  const bool is_held = needed != nullptr && needed->is_held();
  const size_t watched = runs_.size() - context_.state.runs();
  if (!changes && needed == nullptr && watched >= limits.runs) return false;
  const auto has_room = [&] {
    const bool is_free = context_.memory.counts.runs.used() < limits.runs &&
                         context_.state.runs() < context_.own_limits.runs.most;
    return (!changes || is_held || is_free) &&
           context_.memory.runs.used() + kRunNodeBytes <= limits.run_bytes &&
           context_.run_memory.used() + kRunNodeBytes <= context_.own_limits.run_bytes.most;
  };
  while (!has_room()) {
    Kept* oldest = nullptr;
    for (std::list<Kept*>* among : {&idle_, &abandoned_}) {
      for (Kept* run : *among) {
        if (oldest == nullptr && run != needed) oldest = run;
        if (oldest != nullptr) break;
      }
    }
    if (oldest == nullptr) return false;
    if (oldest->among == &abandoned_) {
      ++context_.commons.records.counters.runs_dropped;
      context_.log(LogLevel::kWarning,
                   "dropped run " + quoted(oldest->id()) +
                       ": its nodes are not connected, and other runs need its place");
    }
    forget(*oldest);
  }
  return true;
}

void Runs::forget(Kept& run) {
  if (run.among != nullptr) run.among->erase(run.at);
  if (run.is_held()) {
    context_.apply(change::ForgetRun{run.id()});
    context_.wake();
  }
  runs_.erase(std::string(run.id()));
}

void Runs::arm_idle_timer() {
  if (idle_timer_ || idle_.empty()) return;
  const Duration kept = std::chrono::milliseconds(context_.limits.idle_run_ms);
  idle_timer_ = context_.clock.timers.call_at(idle_.front()->since + kept, [this, kept] {
    idle_timer_.reset();
    const Instant current = context_.clock.now;
    while (!idle_.empty() && current - idle_.front()->since >= kept) forget(*idle_.front());
    arm_idle_timer();
  });
}

}  // namespace rdzv
