// The part of LocalStore that waits, and in which callers meet: barriers and exchanges.
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "store/local_store.h"

namespace rdzv {
namespace {

// For whoever gives up waiting at a barrier to say so.
constexpr Duration kLeaveTimeout = std::chrono::milliseconds(50);

}  // namespace

LocalStore::Blocked::Blocked(LocalStore& to, const std::vector<Bytes>& wanted, Table::Need what,
                             int64_t count)
    : store(to), keys(wanted), need(what), target(count) {
  store.blocked_.push_back(this);
  park(store.table());
}

LocalStore::Blocked::~Blocked() {
  store.table().drop(*this);
  std::erase(store.blocked_, this);
  store.has_unblocked();
}

void LocalStore::Blocked::park(Table& table) {
  waiter = table.wait(*this, 0, keys, need, target);
  if (waiter == nullptr) finish(table);
}

void LocalStore::Blocked::sleep(Lock& lock, Duration length) {
  asleep = true;
  woken.wait_for(lock, length);
  asleep = false;
}

void LocalStore::Blocked::finish(Table& table, std::string popped) {
  waiter = nullptr;
  done = true;
  item = std::move(popped);
  if (need == Table::Need::kValue) {
    values.reserve(keys.size());
    for (Bytes key : keys) values.push_back(table.find(key)->bytes.taken());
  }
  if (need == Table::Need::kChange) {
    const Table::Value* value = table.find(keys.front());
    if (value != nullptr) changed = {value->bytes.taken(), value->version};
  }
  woken.notify_one();
}

void LocalStore::serve_woken(Table& table) {
  for (Table::Woken& woken : table.take_woken())
    static_cast<Blocked&>(*woken.owner).finish(table, std::move(woken.item).value_or(""));
}

void LocalStore::throw_timeout(const std::string& text, Missing missing) const {
  throw Error(ErrorCode::kTimeout, text + " (" + describe() + ")", std::move(missing));
}

// The values of `keys`, if they are what is needed.
std::vector<TakenBytes> LocalStore::wait_for(const char* operation, const std::vector<Bytes>& keys,
                                             Duration timeout, Table::Need need) {
  check_keys(operation, keys);
  Deadline deadline = Deadline::after(timeout);
  Lock lock = begin_reading(operation, timeout);
  Blocked blocked(*this, keys, need);
  sleep_until_done(lock, blocked, deadline, operation);
  if (blocked.done) return std::move(blocked.values);
  std::vector<Bytes> missing = table().missing_keys(*blocked.waiter);
  throw_timeout(need == Table::Need::kQueue
                    ? queue_timeout_text(keys.front(), deadline.elapsed())
                    : timeout_text(operation, missing, keys.size(), deadline.elapsed()),
                missing_of(missing));
}

void LocalStore::wait(const std::vector<Bytes>& keys, Duration timeout) {
  wait_for("wait", keys, timeout, Table::Need::kPresent);
}

std::vector<TakenBytes> LocalStore::multi_read(const std::vector<Bytes>& keys, Duration timeout) {
  return wait_for("multi_get", keys, timeout, Table::Need::kValue);
}

Store::Versioned LocalStore::watch(Bytes key, uint64_t known_version, Duration timeout) {
  check_key("watch", key);
  Deadline deadline = Deadline::after(timeout);
  std::vector<Bytes> keys = {key};
  Lock lock = begin_reading("watch", timeout);
  Blocked blocked(*this, keys, Table::Need::kChange, static_cast<int64_t>(known_version));
  sleep_until_done(lock, blocked, deadline, "watch");
  if (blocked.done) return std::move(blocked.changed);
  throw_timeout(watch_timeout_text(key, known_version, deadline.elapsed()), missing_of(keys));
}

void LocalStore::take_step(const TableStep& step) {
  if (step.refusal)
    throw Error(step.refusal->code(), step.refusal->message() + " (" + describe() + ")");
  if (!step.pairs.empty()) put_all(step.pairs);
}

void LocalStore::barrier_as(Bytes key, const Seat& seat, Duration timeout) {
  BarrierCall call{seat, key, key, random_token()};
  check_barrier(call);
  Deadline deadline = Deadline::after(timeout);
  {
    const Writing writing(*this, "barrier", timeout);
    take_step(arrive(call, table()));
  }
  std::vector<Bytes> keys = {key};
  try {
    Lock lock(mutex_);
    Blocked blocked(*this, keys, Table::Need::kCount, call.target());
    sleep_until_done(lock, blocked, deadline, "barrier");
    if (blocked.done) return;
  } catch (...) {
    try {
      leave_from(call, deadline.elapsed());
    } catch (const Error&) {
      // It stays counted, like one whose process died.
    }
    throw;
  }
  if (std::optional<Error> error = leave_from(call, deadline.elapsed())) throw *error;
}

// The error of one whose time is over; none if all have come in the last moment.
std::optional<Error> LocalStore::leave_from(const BarrierCall& call, Duration elapsed) {
  const Writing writing(*this, "barrier", kLeaveTimeout);
  int64_t count = table().sum(call.key, 0).value;
  if (count >= call.target()) return std::nullopt;
  std::vector<int64_t> missing = missing_ranks(call, table());
  Error error(ErrorCode::kTimeout,
              barrier_timeout_text(call, count, missing, elapsed) + " (" + describe() + ")",
              missing_at(call.key, missing));
  take_step(leave(call, table()));
  return error;
}

std::vector<TakenBytes> LocalStore::exchange(Bytes key, int64_t rank, int64_t world_size,
                                             Bytes value, Duration timeout) {
  ExchangeCall call{key, key, rank, world_size, value};
  check_exchange(call);
  Deadline deadline = Deadline::after(timeout);
  {
    const Writing writing(*this, "exchange", timeout);
    take_step(arrive(call, table()));
  }
  ExchangeSlots slots(key, world_size);
  Lock lock(mutex_);
  Blocked blocked(*this, slots.all(), Table::Need::kValue);
  sleep_until_done(lock, blocked, deadline, "exchange");
  if (blocked.done) return std::move(blocked.values);
  std::vector<int64_t> missing;
  for (int64_t other = 0; other < world_size; ++other) {
    if (table().find(slots.of(other)) == nullptr) missing.push_back(other);
  }
  std::string text = exchange_timeout_text(key, missing, world_size, deadline.elapsed());
  throw_timeout(text, missing_at(key, std::move(missing)));
}

}  // namespace rdzv
