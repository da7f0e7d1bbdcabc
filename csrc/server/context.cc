#include "server/context.h"

#include <algorithm>

#include "server/connection.h"
#include "server/session.h"

namespace rdzv {

void ServerContext::wake() {
  tell(table.take_woken(0));
  if (table.has_ripe()) chores.begin(waking_);
  set_expiry_timer();
}

void ServerContext::tell(std::vector<Table::Woken> woken) {
  // What is given back, because who was woken is going, wakes others.
  for (; !woken.empty(); woken = table.take_woken(0)) {
    for (const Table::Woken& one : woken) static_cast<Session*>(one.owner)->on_woken(one);
  }
}

bool ServerContext::Waking::work(Budget& budget) {
  const size_t count = budget.good_for(Budget::kWake);
  budget.spend(count * Budget::kWake);
  context_.tell(context_.table.take_woken(count));
  return !context_.table.has_ripe();
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
  go_on();
  // Who has not had a slice yet does not wait long for those who have had theirs.
  const bool has_more = chores.work(unserved.empty() ? Budget::kChores : Budget::kFirstSlice);
  first_slices = 0;
  return has_more || is_overdue_ || !put_off.empty() || !unserved.empty();
}

// The timer ends the loop's sleep; the turn's end does the rest. One that is earlier than need be,
// because its key was set again, stays: it finds nothing to do, and is set anew.
void ServerContext::set_expiry_timer() {
  std::optional<Instant> next = table.next_expiry();
  if (!next || is_overdue_ || (expiry_timer_ && expiry_timer_->first <= *next)) return;
  if (expiry_timer_) loop.cancel(*expiry_timer_);
  expiry_timer_ = loop.call_awake_at(*next, [this] { expiry_timer_.reset(); });
}

void ServerContext::go_on() {
  const size_t spent = go_on(unserved, Budget::kTurn);
  go_on(put_off, std::max<size_t>(Budget::kTurn - std::min(spent, Budget::kTurn), 1));
}

// Returns what they spent.
size_t ServerContext::go_on(std::deque<Connection*>& those, size_t units) {
  // Once around at most, for those who are put off again.
  size_t count = those.size();
  size_t spent = 0;
  for (; count > 0 && spent < units; --count) {
    Connection* next = those.front();
    those.pop_front();
    next->guarded([next] { next->go_on(); });
    spent += budget.spent();
  }
  return spent;
}

}  // namespace rdzv
