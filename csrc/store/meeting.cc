#include "store/meeting.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "store/store.h"
#include "store/table.h"
#include "wire/limits.h"

namespace rdzv {
namespace {

// As far as a round's count fits 64 bits.
constexpr int64_t kRoundMax = int64_t{1} << 40;
constexpr Bytes kNewKeyText = "the key was used before: use a new key for each ";

std::string at_key(const char* what, Bytes key) {
  return std::string(what) + " at key " + quoted(key) + ": ";
}

std::optional<Error> refuse_size(const char* what, Bytes shown_key, int64_t world_size) {
  if (world_size < 1) {
    return Error(ErrorCode::kInvalidArgument, at_key(what, shown_key) + "world_size is " +
                                                  std::to_string(world_size) +
                                                  "; it must be at least 1");
  }
  size_t longest = meeting_size_key(shown_key).size();
  if (longest > limits::kKeyBytesMax) {
    return Error(ErrorCode::kLimit, at_key(what, shown_key) +
                                        "the longest of its keys would have " +
                                        std::to_string(longest) + " bytes; the limit is " +
                                        std::to_string(limits::kKeyBytesMax));
  }
  return std::nullopt;
}

std::optional<Error> refuse_rank(const char* what, Bytes shown_key, int64_t rank,
                                 int64_t world_size) {
  if (rank < 0 || rank >= world_size) {
    return Error(ErrorCode::kInvalidArgument, at_key(what, shown_key) + "rank " +
                                                  std::to_string(rank) + " is not between 0 and " +
                                                  std::to_string(world_size - 1));
  }
  if (static_cast<uint64_t>(world_size) > limits::kKeysPerRequestMax) {
    return Error(ErrorCode::kLimit, at_key(what, shown_key) + "world_size is " +
                                        std::to_string(world_size) + "; the limit is " +
                                        std::to_string(limits::kKeysPerRequestMax));
  }
  return std::nullopt;
}

// Whoever met here before was another number of callers.
std::optional<Error> refuse_other_size(const char* what, Bytes shown_key, int64_t world_size,
                                       const std::optional<std::string>& found) {
  if (!found || *found == std::to_string(world_size)) return std::nullopt;
  return Error(ErrorCode::kInvalidArgument, at_key(what, shown_key) + "the others' world_size is " +
                                                *found + ", not " + std::to_string(world_size) +
                                                "; " + std::string(kNewKeyText) + what);
}

std::optional<std::string> value_at(const Table& table, Bytes key) {
  const Table::Value* value = table.find(key);
  if (value == nullptr) return std::nullopt;
  return std::string(value->bytes);
}

void put(TableStep& step, Bytes key, std::string value) {
  step.pairs.push_back(key);
  step.pairs.push_back(step.owned.emplace_back(std::move(value)));
}

// Adds `amount` to the count. An error when there is no number, and then nothing is written.
void put_count(TableStep& step, const Table& table, Bytes key, Bytes shown_key, int64_t amount) {
  Table::Add sum = table.sum(key, amount);
  if (sum.status == Table::AddStatus::kOk) {
    put(step, key, std::to_string(sum.value));
    return;
  }
  bool overflow = sum.status == Table::AddStatus::kOverflow;
  step.refusal = Error(ErrorCode::kNotANumber,
                       not_a_number_text(shown_key, table.find(key)->bytes, amount, overflow));
}

MeetingFound look(const Table& table, Bytes key, Bytes size_key) {
  return {value_at(table, size_key), table.sum(key, 0).value};
}

}  // namespace

std::string meeting_size_key(Bytes key) {
  return std::string(key) + "/world_size";
}

std::optional<Error> refusal_of(const BarrierCall& call) {
  if (auto refusal = refuse_size("barrier", call.shown_key, call.world_size)) return refusal;
  if (!call.has_rank()) return std::nullopt;
  if (call.round < 1 || call.round > kRoundMax) {
    return Error(ErrorCode::kInvalidArgument, at_key("barrier", call.shown_key) + "round is " +
                                                  std::to_string(call.round) +
                                                  "; rounds start at 1");
  }
  return refuse_rank("barrier", call.shown_key, call.rank, call.world_size);
}

std::optional<Error> refusal_of(const ExchangeCall& call) {
  if (auto refusal = refuse_size("exchange", call.shown_key, call.world_size)) return refusal;
  return refuse_rank("exchange", call.shown_key, call.rank, call.world_size);
}

void check_barrier(const BarrierCall& call) {
  check_key("barrier", call.key);
  if (std::optional<Error> refusal = refusal_of(call)) throw *refusal;
}

void check_exchange(const ExchangeCall& call) {
  check_key("exchange", call.key);
  check_value("exchange", call.key, call.value);
  if (std::optional<Error> refusal = refusal_of(call)) throw *refusal;
}

std::string slot_of(const BarrierCall& call) {
  return std::to_string(call.round) + " " + std::to_string(call.token);
}

std::string left_slot_of(const BarrierCall& call) {
  return std::to_string(call.round);
}

int64_t round_in(Bytes slot) {
  int64_t round = 0;
  auto [rest, error] = std::from_chars(slot.data(), slot.data() + slot.size(), round);
  bool whole = rest == slot.data() + slot.size() || *rest == ' ';
  return error == std::errc() && whole ? round : 0;
}

Arrival arrive(const BarrierCall& call, const MeetingFound& found,
               const std::optional<std::string>& slot) {
  Arrival arrival;
  arrival.refusal = refuse_other_size("barrier", call.shown_key, call.world_size, found.world_size);
  if (arrival.refusal) return arrival;
  bool complete = found.count >= call.target();
  auto refuse = [&](const std::string& why, const char* instead) {
    arrival.refusal =
        Error(ErrorCode::kInvalidArgument, at_key("barrier", call.shown_key) + why + "; " +
                                               std::string(kNewKeyText) + "barrier, or " + instead);
    return arrival;
  };
  if (!call.has_rank()) {
    arrival.counts = !complete;
    if (!complete) return arrival;
    return refuse(std::to_string(found.count) + " of " + std::to_string(call.world_size) +
                      " have already arrived",
                  "pass rank= and round=");
  }
  int64_t last = slot ? round_in(*slot) : 0;
  if (last > call.round || last + 1 < call.round) {
    return refuse("rank " + std::to_string(call.rank) + " arrives at round " +
                      std::to_string(call.round) + ", but its last round was " +
                      (last == 0 ? "none" : std::to_string(last)),
                  "count the rounds of each rank from 1");
  }
  arrival.counts = last < call.round;
  arrival.writes = true;
  // It is sent again, or comes again: who left without that all had come may, whoever was let
  // through may not.
  if (!arrival.counts && complete && *slot != slot_of(call) && *slot != left_slot_of(call)) {
    return refuse("rank " + std::to_string(call.rank) + " has passed round " +
                      std::to_string(call.round) + " already",
                  "go to the next round");
  }
  return arrival;
}

Arrival arrive(const ExchangeCall& call, const MeetingFound& found, Gave gave) {
  Arrival arrival;
  arrival.refusal =
      refuse_other_size("exchange", call.shown_key, call.world_size, found.world_size);
  if (arrival.refusal) return arrival;
  arrival.counts = gave == Gave::kNothing;
  arrival.writes = gave != Gave::kTheSame;
  arrival.may_be_used = gave == Gave::kAnother && found.count >= call.world_size;
  return arrival;
}

Error used_error(const ExchangeCall& call) {
  return Error(ErrorCode::kInvalidArgument,
               at_key("exchange", call.shown_key) + "all ranks have already arrived, and rank " +
                   std::to_string(call.rank) + " gave another value; " + std::string(kNewKeyText) +
                   "exchange");
}

TableStep arrive(const BarrierCall& call, const Table& table) {
  TableStep step;
  Bytes size_key = step.owned.emplace_back(meeting_size_key(call.key));
  Bytes slot;
  std::optional<std::string> in_slot;
  if (call.has_rank()) {
    slot = step.owned.emplace_back(exchange_slot(call.key, call.rank));
    in_slot = value_at(table, slot);
  }
  MeetingFound found = look(table, call.key, size_key);
  Arrival arrival = arrive(call, found, in_slot);
  step.refusal = std::move(arrival.refusal);
  if (step.refusal) return step;
  if (arrival.counts) put_count(step, table, call.key, call.shown_key, 1);
  if (arrival.writes) put(step, slot, slot_of(call));
  if (!found.world_size) put(step, size_key, std::to_string(call.world_size));
  return step;
}

TableStep arrive(const ExchangeCall& call, const Table& table,
                 const std::function<bool()>& have_all_come) {
  TableStep step;
  Bytes size_key = step.owned.emplace_back(meeting_size_key(call.key));
  Bytes slot = step.owned.emplace_back(exchange_slot(call.key, call.rank));
  MeetingFound found = look(table, call.key, size_key);
  const Table::Value* given = table.find(slot);
  Gave gave = given == nullptr             ? Gave::kNothing
              : given->bytes == call.value ? Gave::kTheSame
                                           : Gave::kAnother;
  Arrival arrival = arrive(call, found, gave);
  step.refusal = std::move(arrival.refusal);
  if (step.refusal) return step;
  const auto nobody_is_missing = [&] {
    return have_all_come ? have_all_come()
                         : missing_ranks(call.key, call.world_size, table, 1).empty();
  };
  if (arrival.may_be_used && nobody_is_missing()) {
    step.refusal = used_error(call);
    return step;
  }
  if (arrival.counts) put_count(step, table, call.key, call.shown_key, 1);
  if (arrival.writes) {
    step.pairs.push_back(slot);
    step.pairs.push_back(call.value);
  }
  if (!found.world_size) put(step, size_key, std::to_string(call.world_size));
  return step;
}

// Without ranks nobody knows who comes again, so whoever leaves is no longer counted.
TableStep leave(const BarrierCall& call, const Table& table) {
  TableStep step;
  if (!call.has_rank()) {
    Table::Add count = table.sum(call.key, -1);
    bool open = count.status != Table::AddStatus::kOk || count.value + 1 >= call.target();
    if (!open && count.value >= 0) put(step, call.key, std::to_string(count.value));
    return step;
  }
  Bytes slot = step.owned.emplace_back(exchange_slot(call.key, call.rank));
  const Table::Value* value = table.find(slot);
  if (value != nullptr && value->bytes == slot_of(call)) put(step, slot, left_slot_of(call));
  return step;
}

namespace {

template <typename IsMissing>
std::vector<int64_t> first_ranks(Bytes key, int64_t first, int64_t world_size, const Table& table,
                                 size_t max, IsMissing&& is_missing) {
  std::vector<int64_t> missing;
  for (int64_t rank = first; rank < world_size && missing.size() < max; ++rank) {
    if (is_missing(table.find(exchange_slot(key, rank)))) missing.push_back(rank);
  }
  return missing;
}

}  // namespace

std::vector<int64_t> missing_ranks(const BarrierCall& call, const Table& table) {
  if (!call.has_rank()) return {};
  return first_ranks(call.key, 0, call.world_size, table, kMissingMax,
                     [&](const Table::Value* slot) {
                       return slot == nullptr || round_in(slot->bytes) < call.round;
                     });
}

std::vector<int64_t> missing_ranks(Bytes key, int64_t world_size, const Table& table, size_t max,
                                   int64_t first) {
  return first_ranks(key, first, world_size, table, max,
                     [](const Table::Value* slot) { return slot == nullptr; });
}

size_t missing_count(const std::vector<int64_t>& named, int64_t target, int64_t count) {
  if (named.size() < kMissingMax || count >= target) return named.size();
  return std::max(named.size(), static_cast<size_t>(target - count));
}

std::string barrier_timeout_text(const BarrierCall& call, int64_t count,
                                 const std::vector<int64_t>& missing, Duration elapsed) {
  std::string text = "barrier timeout after " + seconds_text(elapsed) + ": ";
  std::string where = "key " + quoted(call.shown_key);
  if (!call.has_rank()) {
    return text + std::to_string(count) + " of " + std::to_string(call.world_size) +
           " have arrived at " + where;
  }
  if (call.round > 1) where = "round " + std::to_string(call.round) + " of " + where;
  size_t all = missing_count(missing, call.target(), count);
  return text + std::to_string(all) + " of " + std::to_string(call.world_size) +
         " ranks have not arrived at " + where + ": " + ranks_text(missing, all);
}

Missing missing_at(Bytes key, std::vector<int64_t> ranks) {
  if (ranks.size() > kMissingMax) ranks.resize(kMissingMax);
  return {{std::string(key)}, std::move(ranks)};
}

}  // namespace rdzv
