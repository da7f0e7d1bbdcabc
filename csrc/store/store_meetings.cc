// Barriers with ranks and exchanges made of a store's other operations, for stores that have
// nothing better. Between two of those operations others may come, or this caller may die: whoever
// comes is counted first and shown then, so that nobody is let through too early.
#include <algorithm>
#include <array>
#include <thread>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/random.h"
#include "store/meeting.h"
#include "store/store.h"

namespace rdzv {
namespace {

constexpr Duration kPauseMin = std::chrono::milliseconds(1);
constexpr Duration kPauseMax = std::chrono::milliseconds(20);

// Says how many there are, unless somebody has said it before.
MeetingFound look(Store& store, Bytes key, int64_t world_size) {
  std::string size = std::to_string(world_size);
  Store::Exchange recorded = store.compare_exchange(meeting_size_key(key), "", size);
  MeetingFound found;
  found.world_size = recorded.exists ? recorded.value : size;
  found.count = store.add(key, 0);
  return found;
}

std::optional<std::string> value_of(Store& store, Bytes key) {
  Store::Versioned now = store.try_get(key);
  if (now.version == 0) return std::nullopt;
  return std::move(now.value);
}

std::vector<int64_t> ranks_not_in(Store& store, const BarrierCall& call,
                                  const ExchangeSlots& slots) {
  std::vector<int64_t> missing;
  for (int64_t rank = 0; rank < call.world_size; ++rank) {
    std::optional<std::string> slot = value_of(store, slots.of(rank));
    if (!slot || round_in(*slot) < call.round) missing.push_back(rank);
  }
  return missing;
}

bool all_are_in(Store& store, const BarrierCall& call, const ExchangeSlots& slots) {
  if (!store.check(slots.all())) return false;
  std::vector<std::string> rounds = store.multi_get(slots.all(), store.timeout());
  return std::all_of(rounds.begin(), rounds.end(),
                     [&](const std::string& slot) { return round_in(slot) >= call.round; });
}

// False at the deadline.
bool wait_for_all(Store& store, const BarrierCall& call, const ExchangeSlots& slots,
                  const Deadline& deadline) {
  for (Duration pause = kPauseMin;; pause = std::min(2 * pause, kPauseMax)) {
    if (all_are_in(store, call, slots)) return true;
    if (deadline.passed()) return false;
    std::this_thread::sleep_for(std::min(pause, deadline.left()));
    throw_if_interrupted();
  }
}

}  // namespace

void Store::barrier_as(Bytes key, const Seat& seat, Duration timeout) {
  BarrierCall call{key, key, seat.world_size, seat.rank, seat.round, random_token()};
  check_barrier(call);
  Deadline deadline = Deadline::after(timeout);
  ExchangeSlots slots(key, seat.world_size);
  Bytes own = slots.of(seat.rank);
  Arrival arrival = arrive(call, look(*this, key, seat.world_size), value_of(*this, own));
  if (arrival.refusal) throw *arrival.refusal;
  if (arrival.counts) add(key, 1);
  set(own, slot_of(call));
  try {
    if (wait_for_all(*this, call, slots, deadline)) return;
  } catch (...) {
    set(own, left_slot_of(call));
    throw;
  }
  std::vector<int64_t> missing = ranks_not_in(*this, call, slots);
  if (missing.empty()) return;
  set(own, left_slot_of(call));
  std::string text = barrier_timeout_text(call, 0, missing, deadline.elapsed());
  throw Error(ErrorCode::kTimeout, text + " (" + describe() + ")", missing_at(key, missing));
}

std::vector<std::string> Store::exchange(Bytes key, int64_t rank, int64_t world_size, Bytes value,
                                         Duration timeout) {
  ExchangeCall call{key, key, rank, world_size, value};
  check_exchange(call);
  Deadline deadline = Deadline::after(timeout);
  ExchangeSlots slots(key, world_size);
  Bytes own = slots.of(rank);
  MeetingFound found = look(*this, key, world_size);
  std::optional<std::string> before = value_of(*this, own);
  Gave gave = !before ? Gave::kNothing : *before == value ? Gave::kTheSame : Gave::kAnother;
  Arrival arrival = arrive(call, found, gave);
  if (arrival.refusal) throw *arrival.refusal;
  if (arrival.may_be_used && check(slots.all())) throw used_error(call);
  if (arrival.counts) add(key, 1);
  if (arrival.writes) set(own, value);
  try {
    return multi_get(slots.all(), deadline.left());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kTimeout) throw;
  }
  // That error named keys; whoever exchanges thinks in ranks.
  std::vector<std::string> there = list_keys(std::string(key) + "/");
  std::vector<int64_t> missing;
  for (int64_t other = 0; other < world_size; ++other) {
    if (!std::binary_search(there.begin(), there.end(), slots.of(other))) missing.push_back(other);
  }
  if (missing.empty()) return multi_get(slots.all(), Duration::zero());
  throw Error(
      ErrorCode::kTimeout,
      exchange_timeout_text(key, missing, world_size, deadline.elapsed()) + " (" + describe() + ")",
      missing_at(key, missing));
}

}  // namespace rdzv
