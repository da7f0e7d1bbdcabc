#include "store/exchange.h"

#include <algorithm>

#include "base/text.h"

namespace rdzv {

std::string exchange_slot(Bytes key, int64_t rank) {
  return std::string(key) + "/" + std::to_string(rank);
}

ExchangeSlots::ExchangeSlots(Bytes key, int64_t world_size) {
  owned_.reserve(static_cast<size_t>(world_size));
  for (int64_t rank = 0; rank < world_size; ++rank) owned_.push_back(exchange_slot(key, rank));
  views_.assign(owned_.begin(), owned_.end());
}

std::string ranks_text(const std::vector<int64_t>& ranks, size_t count) {
  constexpr size_t kShownMax = 20;
  std::string text;
  for (size_t i = 0; i < ranks.size() && i < kShownMax; ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(ranks[i]);
  }
  count = std::max(count, ranks.size());
  if (count > kShownMax) text += " and " + std::to_string(count - kShownMax) + " more";
  return text;
}

std::string exchange_timeout_text(Bytes key, const std::vector<int64_t>& missing,
                                  int64_t world_size, Duration elapsed, size_t count) {
  count = std::max(count, missing.size());
  return "exchange timeout after " + seconds_text(elapsed) + ": " + std::to_string(count) + " of " +
         std::to_string(world_size) + " ranks have not arrived at key " + quoted(key) + ": " +
         ranks_text(missing, count);
}

}  // namespace rdzv
