// The part of HashStore in which callers meet: barriers and exchanges.
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "store/hash_store.h"
#include "store/meeting.h"

namespace rdzv {

void HashStore::barrier(Bytes key, int64_t world_size, Duration timeout) {
  meet({key, key, world_size}, timeout);
}

void HashStore::barrier_as(Bytes key, const Seat& seat, Duration timeout) {
  meet({key, key, seat.world_size, seat.rank, seat.round, random_token()}, timeout);
}

void HashStore::meet(const BarrierCall& call, Duration timeout) {
  check_barrier(call);
  Lock lock = enter();
  TableStep step = arrive(call, table_);
  if (step.refusal) throw Error(step.refusal->code(), step.refusal->message() + " (HashStore)");
  table_.multi_set(step.pairs);
  wake();
  Blocked blocked(Table::Need::kCount);
  auto leave_it = [&] {
    table_.multi_set(leave(call, table_).pairs);
    wake();
  };
  if (table_.wait(blocked, 0, {call.key}, Table::Need::kCount, call.target()) == nullptr) return;
  Deadline deadline = Deadline::after(timeout);
  try {
    if (sleep_until_done(lock, blocked, deadline)) return;
  } catch (...) {
    if (!blocked.done) leave_it();
    throw;
  }
  table_.drop(blocked);
  std::vector<int64_t> missing = missing_ranks(call, table_);
  std::string text =
      barrier_timeout_text(call, table_.sum(call.key, 0).value, missing, deadline.elapsed());
  leave_it();
  throw Error(ErrorCode::kTimeout, text + " (HashStore)", missing_at(call.key, std::move(missing)));
}

namespace {

std::vector<std::string> own(std::vector<TakenBytes> taken) {
  std::vector<std::string> values;
  values.reserve(taken.size());
  for (TakenBytes& value : taken) values.push_back(std::move(value).own());
  return values;
}

}  // namespace

std::vector<std::string> HashStore::exchange(Bytes key, int64_t rank, int64_t world_size,
                                             Bytes value, Duration timeout) {
  ExchangeCall call{key, key, rank, world_size, value};
  check_exchange(call);
  Lock lock = enter();
  TableStep step = arrive(call, table_);
  if (step.refusal) throw Error(step.refusal->code(), step.refusal->message() + " (HashStore)");
  table_.multi_set(step.pairs);
  wake();
  ExchangeSlots slots(key, world_size);
  Blocked blocked(Table::Need::kValue);
  Table::Waiter* waiter = table_.wait(blocked, 0, slots.all(), Table::Need::kValue);
  if (waiter == nullptr) return own(values_of(slots.all()));
  Deadline deadline = Deadline::after(timeout);
  if (sleep_until_done(lock, blocked, deadline)) return own(std::move(blocked.values));
  std::vector<int64_t> missing;
  for (int64_t other = 0; other < world_size; ++other) {
    if (table_.find(slots.of(other)) == nullptr) missing.push_back(other);
  }
  table_.drop(blocked);
  std::string text = exchange_timeout_text(key, missing, world_size, deadline.elapsed());
  throw Error(ErrorCode::kTimeout, text + " (HashStore)", missing_at(key, std::move(missing)));
}

}  // namespace rdzv
