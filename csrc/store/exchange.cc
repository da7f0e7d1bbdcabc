#include "store/exchange.h"

#include <algorithm>

#include "base/text.h"
#include "store/store.h"
#include "wire/limits.h"

namespace rdzv {

std::string exchange_slot(Bytes key, int64_t rank) {
  return std::string(key) + "/" + std::to_string(rank);
}

ExchangeSlots::ExchangeSlots(Bytes key, int64_t world_size) {
  owned_.reserve(static_cast<size_t>(world_size));
  for (int64_t rank = 0; rank < world_size; ++rank) owned_.push_back(exchange_slot(key, rank));
  views_.assign(owned_.begin(), owned_.end());
}

std::optional<Error> exchange_refusal(Bytes key, int64_t rank, int64_t world_size) {
  std::string text = "exchange at key " + quoted(key) + ": ";
  if (world_size < 1) {
    return Error(ErrorCode::kInvalidArgument,
                 text + "world_size is " + std::to_string(world_size) + "; it must be at least 1");
  }
  if (rank < 0 || rank >= world_size) {
    return Error(ErrorCode::kInvalidArgument, text + "rank " + std::to_string(rank) +
                                                  " is not in 0 to " +
                                                  std::to_string(world_size - 1));
  }
  if (static_cast<uint64_t>(world_size) > limits::kKeysPerRequestMax) {
    return Error(ErrorCode::kLimit, text + "world_size is " + std::to_string(world_size) +
                                        "; the limit is " +
                                        std::to_string(limits::kKeysPerRequestMax));
  }
  size_t slot_bytes = exchange_slot(key, world_size - 1).size();
  if (slot_bytes > limits::kKeyBytesMax) {
    return Error(ErrorCode::kLimit, text + "the keys of its values would have " +
                                        std::to_string(slot_bytes) + " bytes; the limit is " +
                                        std::to_string(limits::kKeyBytesMax));
  }
  return std::nullopt;
}

void check_exchange(Bytes key, int64_t rank, int64_t world_size, Bytes value) {
  check_key("exchange", key);
  check_value("exchange", key, value);
  if (std::optional<Error> refusal = exchange_refusal(key, rank, world_size)) throw *refusal;
}

std::string exchange_timeout_text(Bytes key, const std::vector<int64_t>& missing,
                                  int64_t world_size, Duration elapsed) {
  constexpr size_t kShownMax = 20;
  std::string text = "exchange timed out after " + seconds_text(elapsed) + ": " +
                     std::to_string(missing.size()) + " of " + std::to_string(world_size) +
                     " ranks have not come to key " + quoted(key) + ": ";
  for (size_t i = 0; i < missing.size() && i < kShownMax; ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(missing[i]);
  }
  if (missing.size() > kShownMax)
    text += " and " + std::to_string(missing.size() - kShownMax) + " more";
  return text;
}

std::vector<std::string> Store::exchange(Bytes key, int64_t rank, int64_t world_size, Bytes value,
                                         Duration timeout) {
  check_exchange(key, rank, world_size, value);
  Deadline deadline = Deadline::after(timeout);
  ExchangeSlots slots(key, world_size);
  Bytes own = slots.of(rank);
  if (try_get(own).version == 0) add(key, 1);
  set(own, value);
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
  throw Error(ErrorCode::kTimeout,
              exchange_timeout_text(key, missing, world_size, deadline.elapsed()) + " (" +
                  describe() + ")");
}

}  // namespace rdzv
