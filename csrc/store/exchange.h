// What all makers of an exchange agree on: where its values lie, what it refuses, what it says when
// ranks are missing. Callers over either protocol, and the server, may meet in one exchange. Pure;
// any thread.
//
// A rank that its slot does not show yet is counted first and fills its slot then. So whoever dies
// or is repeated between the two makes the count too high, never too low: an exchange is complete
// when the count and every slot are there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"

namespace rdzv {

// The key of a rank's value.
std::string exchange_slot(Bytes key, int64_t rank);

// The slots of all ranks, by rank.
class ExchangeSlots {
 public:
  ExchangeSlots(Bytes key, int64_t world_size);

  const std::vector<Bytes>& all() const { return views_; }
  Bytes of(int64_t rank) const { return views_[static_cast<size_t>(rank)]; }

 private:
  std::vector<std::string> owned_;
  std::vector<Bytes> views_;
};

// Why no store takes this exchange, if so.
std::optional<Error> exchange_refusal(Bytes key, int64_t rank, int64_t world_size);
// Throws that, or kLimit for the value.
void check_exchange(Bytes key, int64_t rank, int64_t world_size, Bytes value);

// `missing`: ranks, ascending.
std::string exchange_timeout_text(Bytes key, const std::vector<int64_t>& missing,
                                  int64_t world_size, Duration elapsed);

}  // namespace rdzv
