#include "server/context.h"

#include "server/connection.h"
#include "server/session.h"

namespace rdzv {

void ServerContext::wake() {
  // What is given back, because who was woken is going, wakes others.
  for (auto all = table.take_woken(); !all.empty(); all = table.take_woken()) {
    for (const Table::Woken& woken : all) static_cast<Session*>(woken.owner)->on_woken(woken);
  }
  set_expiry_timer();
}

void ServerContext::expire() {
  constexpr size_t kAtOnce = 1024;
  if (has_expired_) return;
  is_overdue_ = false;
  if (!table.next_expiry()) return;
  const Instant current = loop.awake_now();
  if (current < *table.next_expiry()) return;
  has_expired_ = true;
  table.expire(current, kAtOnce);
  is_overdue_ = table.next_expiry() && *table.next_expiry() <= current;
  wake();
}

bool ServerContext::end_turn() {
  expire();
  has_expired_ = false;
  set_expiry_timer();
  return go_on() || is_overdue_;
}

// The timer ends the loop's sleep; the turn's end does the rest. One that is earlier than need be,
// because its key was set again, stays: it finds nothing to do, and is set anew.
void ServerContext::set_expiry_timer() {
  std::optional<Instant> next = table.next_expiry();
  if (!next || is_overdue_ || (expiry_timer_ && expiry_timer_->first <= *next)) return;
  if (expiry_timer_) loop.cancel(*expiry_timer_);
  expiry_timer_ = loop.call_awake_at(*next, [this] { expiry_timer_.reset(); });
}

bool ServerContext::go_on() {
  // Once around at most, for those who are put off again.
  size_t count = put_off.size();
  for (size_t spent = 0; count > 0 && spent < Budget::kTurn; --count) {
    Connection* next = put_off.front();
    put_off.pop_front();
    next->guarded([next] { next->go_on(); });
    spent += budget.spent();
  }
  return !put_off.empty();
}

}  // namespace rdzv
