#include "server/upkeep.h"

#include "server/context.h"
#include "server/protocol.h"

namespace rdzv {

Upkeep::~Upkeep() {
  context_.clock.awake_timers.cancel(timer_);
}

void Upkeep::wake() {
  TableView& table = context_.state.view();
  context_.budget.spend(table.take_noted() * Budget::kNoted);
  tell(table.take_woken(0));
  work_later();
  if (table.next_expiry()) set_timer();
}

void Upkeep::tell(std::vector<TableView::Woken> woken) {
  // What is given back, because who was woken is going, wakes others.
  for (; !woken.empty(); woken = context_.state.view().take_woken(0)) {
    for (const TableView::Woken& one : woken) static_cast<Waiting*>(one.owner)->on_woken(one);
  }
}

bool Upkeep::work(Budget& left) {
  TableView& table = context_.state.view();
  if (table.has_ripe()) {
    const size_t count = left.good_for(Budget::kWake);
    left.spend(count * Budget::kWake);
    tell(table.take_woken(count));
  }
  if (!left.is_spent())
    left.spend(table.clear_gone_feeds(left.good_for(Budget::kPart)) * Budget::kPart);
  return !has_work();
}

bool Upkeep::has_work() const {
  const TableView& table = context_.state.view();
  return table.has_ripe() || table.feeds().has_gone();
}

void Upkeep::work_later() {
  if (has_work()) context_.chores.begin(*this);
}

void Upkeep::expire() {
  if (has_expired_) return;
  is_overdue_ = false;
  const std::optional<Instant> next = context_.state.table().next_expiry();
  if (!next || context_.clock.awake < *next) return;
  has_expired_ = true;
  size_t& left = context_.memory.keys_to_expire;
  if (left > 0) left -= context_.apply(change::Expire{left});
  const std::optional<Instant> later = context_.state.table().next_expiry();
  is_overdue_ = later && *later <= context_.clock.awake;
  context_.wake();
}

void Upkeep::end_turn() {
  expire();
  has_expired_ = false;
  set_timer();
}

// The timer ends the loop's sleep; the turn's end does the rest. One that is earlier than need be,
// because its key was set again, stays: it finds nothing to do, and is set anew.
void Upkeep::set_timer() {
  const std::optional<Instant> next = context_.state.table().next_expiry();
  if (!next || is_overdue_ || (timer_ && timer_->first <= *next)) return;
  context_.clock.awake_timers.cancel(timer_);
  timer_ = context_.clock.awake_timers.call_at(*next, [this] {
    timer_.reset();
    context_.note_active();
  });
}

}  // namespace rdzv
