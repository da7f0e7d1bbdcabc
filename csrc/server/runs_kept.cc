// Which runs are kept when nobody is connected to them: idle ones, which nobody is in, so that
// their rounds go on counting; and abandoned ones, whose nodes may come back. The longest unused go
// first, when their time is over or others need the place.
#include <utility>

#include "base/text.h"
#include "server/context.h"
#include "server/runs.h"

namespace rdzv {

void Runs::release_if_idle(Run& run) {
  const bool is_idle = run.is_idle();
  if (is_idle && !run.is_taken_) {
    forget(run);
    return;
  }
  std::list<Run*>* among = is_idle ? &idle_ : run.is_abandoned() ? &abandoned_ : nullptr;
  if (run.kept_among_ == among) return;
  if (run.kept_among_ != nullptr) run.kept_among_->erase(run.kept_at_);
  run.kept_among_ = among;
  if (among == nullptr) return;
  run.kept_at_ = among->insert(among->end(), &run);
  run.kept_since_ = context_.time.now;
  if (idle_.size() > context_.limits.idle_runs) forget(*idle_.front());
  arm_idle_timer();
}

// Of `needed` alone nothing goes: it is about to be used.
bool Runs::make_room(const Run* needed) {
  const ServerLimits& limits = context_.limits;
  const auto has_room = [&] {
    return (needed != nullptr || runs_.size() < limits.runs) &&
           context_.memory.runs.used() + kRunNodeBytes <= limits.run_bytes;
  };
  while (!has_room()) {
    Run* oldest = nullptr;
    for (std::list<Run*>* among : {&idle_, &abandoned_}) {
      for (Run* run : *among) {
        if (oldest == nullptr && run != needed) oldest = run;
        if (oldest != nullptr) break;
      }
    }
    if (oldest == nullptr) return false;
    if (oldest->kept_among_ == &abandoned_) {
      log(LogLevel::kWarning, "forgets run " + quoted(oldest->id()) +
                                  ", whose nodes are not connected: others need its place");
    }
    forget(*oldest);
  }
  return true;
}

void Runs::forget(Run& run) {
  if (run.kept_among_ != nullptr) run.kept_among_->erase(run.kept_at_);
  if (run.is_taken_) {
    const Table::Value* value = context_.table.find(run.key_);
    if (value != nullptr && value->bytes == native::kRunMarker) {
      context_.table.erase(run.key_);
      context_.wake();
    }
  }
  runs_.erase(std::string(run.id()));
}

void Runs::arm_idle_timer() {
  if (idle_timer_ || idle_.empty()) return;
  const Duration kept = std::chrono::milliseconds(context_.limits.idle_run_ms);
  idle_timer_ = context_.timers.call_at(idle_.front()->kept_since_ + kept, [this, kept] {
    idle_timer_.reset();
    const Instant current = context_.time.now;
    while (!idle_.empty() && current - idle_.front()->kept_since_ >= kept) forget(*idle_.front());
    arm_idle_timer();
  });
}

}  // namespace rdzv
