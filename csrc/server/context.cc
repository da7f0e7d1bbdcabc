#include "server/context.h"

#include <algorithm>

#include "server/connection.h"
#include "server/protocol.h"

namespace rdzv {

ServerContext::ServerContext(const ServerLimits& server_limits, std::string server_name,
                             HashSeed hash_seed, const native::Id128& server_instance)
    : limits(server_limits),
      seed(hash_seed),
      instance(server_instance),
      name(std::move(server_name)) {
  // A table that grows past its size is rearranged in one piece: not before it is large.
  constexpr size_t kKeysAtFirst = size_t{1} << 18;
  table.reserve(kKeysAtFirst);
  table.index_names();
}

// Whoever closes tells others, so nobody is destroyed before all are closed.
ServerContext::~ServerContext() {
  while (!open.empty()) open.back()->close("");
}

void ServerContext::wake() {
  tell(table.take_woken(0));
  if (table.has_ripe()) chores.begin(waking_);
  set_expiry_timer();
}

void ServerContext::tell(std::vector<Table::Woken> woken) {
  // What is given back, because who was woken is going, wakes others.
  for (; !woken.empty(); woken = table.take_woken(0)) {
    for (const Table::Woken& one : woken) static_cast<Protocol*>(one.owner)->on_woken(one);
  }
}

bool ServerContext::Waking::work(Budget& left) {
  const size_t count = left.good_for(Budget::kWake);
  left.spend(count * Budget::kWake);
  context_.tell(context_.table.take_woken(count));
  return !context_.table.has_ripe();
}

void ServerContext::expire() {
  constexpr size_t kAtOnce = 1024;
  if (has_expired_) return;
  is_overdue_ = false;
  if (!table.next_expiry()) return;
  const Instant current = time.awake;
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
  bool more = chores.work(unserved.empty() ? Budget::kChores : Budget::kFirstSlice);
  first_slices = 0;
  more = flush_some() || more;
  forget_closed();
  answers.trim();
  exchanges.trim();
  return more || is_overdue_ || !put_off.empty() || !unserved.empty();
}

// In batches too, for newcomers' sake: one set may have answered thousands. And what is large leaves
// in parts, behind what is not: the kernel copies it, and takes megabytes at a time.
bool ServerContext::flush_some() {
  constexpr size_t kBatch = 256;
  constexpr size_t kLittle = 4 * 1024;
  constexpr size_t kBytesAtOnce = 256 * 1024;
  constexpr size_t kBytes = 1024 * 1024;
  const size_t count = std::min(unsent.size(), kBatch);
  size_t bytes = 0;
  // By index: flushing can let a stalled connection go on, which may have more to send.
  const auto flush = [&](size_t i) {
    Connection* connection = std::exchange(unsent[i], nullptr);
    size_t most = kBytesAtOnce;
    connection->guarded([&] { connection->flush(most); });
    bytes += kBytesAtOnce - most;
  };
  for (size_t i = 0; i < count; ++i) {
    if (unsent[i]->unsent() <= kLittle) flush(i);
  }
  for (size_t i = 0; i < count && bytes < kBytes; ++i) {
    if (unsent[i] != nullptr) flush(i);
  }
  const auto end = unsent.begin() + static_cast<std::ptrdiff_t>(count);
  unsent.erase(std::remove(unsent.begin(), end, nullptr), end);
  return !unsent.empty();
}

// What is closed does not live into the next turn, unless it has left something behind.
void ServerContext::forget_closed() {
  if (!departures.any_new()) return;
  const auto is_closed = [](const Connection* connection) { return connection->closed(); };
  std::erase_if(unsent, is_closed);
  std::erase_if(put_off, is_closed);
  std::erase_if(unserved, is_closed);
  departures.forget();
}

// The timer ends the loop's sleep; the turn's end does the rest. One that is earlier than need be,
// because its key was set again, stays: it finds nothing to do, and is set anew.
void ServerContext::set_expiry_timer() {
  std::optional<Instant> next = table.next_expiry();
  if (!next || is_overdue_ || (expiry_timer_ && expiry_timer_->first <= *next)) return;
  awake_timers.cancel(expiry_timer_);
  expiry_timer_ = awake_timers.call_at(*next, [this] { expiry_timer_.reset(); });
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
