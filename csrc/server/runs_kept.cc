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
  run.droppable.resize(among == nullptr ? 0 : run.memory());
  if (run.among == among) return;
  if (run.among != nullptr) run.among->erase(run.at);
  run.among = among;
  if (among == nullptr) return;
  run.at = among->insert(among->end(), &run);
  run.since = context_.clock.now;
  if (idle_.size() > context_.limits.idle_runs) forget(*idle_.front());
  arm_idle_timer();
}

std::optional<std::string> Runs::make_room(const Need& need, const Kept* used, Use use) {
  if (use == Use::kLook) {
    const ServerLimits& limits = context_.limits;
    const size_t watched = runs_.size() - context_.state.runs();
    if (used == nullptr && watched >= limits.runs)
      return "the server's limit runs is " + std::to_string(limits.runs) +
             ", for those that are only watched, too";
    return reached(need, 0, 0);
  }
  // What is used stays, whatever it is among.
  const bool is_used_listed = used != nullptr && used->among != nullptr;
  const size_t runs = idle_.size() + abandoned_.size() - (is_used_listed ? 1 : 0);
  const size_t bytes = droppable_.used() - (is_used_listed ? used->droppable.bytes() : 0);
  if (const auto why = reached(need, runs, bytes)) return why;
  while (const auto why = reached(need, 0, 0)) {
    Kept* oldest = nullptr;
    for (std::list<Kept*>* among : {&idle_, &abandoned_}) {
      for (Kept* run : *among) {
        if (oldest == nullptr && run != used) oldest = run;
        if (oldest != nullptr) break;
      }
    }
    // What they would free was counted when they were last looked at.
    if (oldest == nullptr) return why;
    drop(*oldest);
  }
  return std::nullopt;
}

std::optional<std::string> Runs::reached(const Need& need, size_t free_runs,
                                         size_t free_bytes) const {
  const ServerLimits& all = context_.limits;
  const SpaceLimits& own = context_.own_limits;
  const auto is_over = [](size_t used, size_t free, size_t more, uint64_t most) {
    return more > 0 && used + more > most + free;
  };
  const size_t runs = need.is_run ? 1 : 0;
  if (is_over(context_.state.runs(), free_runs, runs, own.runs.most))
    return context_.text_of(own.runs);
  if (is_over(memory_.used(), free_bytes, need.bytes, own.run_bytes.most))
    return context_.text_of(own.run_bytes);
  if (is_over(context_.memory.counts.runs.used(), free_runs, runs, all.runs) ||
      is_over(context_.memory.runs.used(), free_bytes, need.bytes, all.run_bytes)) {
    return "of all name spaces the limits are runs " + std::to_string(all.runs) +
           " and run_bytes " + std::to_string(all.run_bytes);
  }
  return std::nullopt;
}

void Runs::drop(Kept& run) {
  if (run.among == &abandoned_) {
    ++context_.commons.records.counters.runs_dropped;
    context_.log(LogLevel::kWarning,
                 "dropped run " + quoted(run.id()) +
                     ": its nodes are not connected, and other runs need its place");
  }
  forget(run);
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
