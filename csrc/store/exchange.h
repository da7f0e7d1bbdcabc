// Where the values of an exchange lie, and what it says when ranks are missing. Pure; any thread.
// What makes it one exchange is in meeting.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"

namespace rdzv {

// The key of what a rank gave; of a barrier with ranks, too.
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

// "1, 2, 3 and 79 more"
// `count`: of all, if there are more.
std::string ranks_text(const std::vector<int64_t>& ranks, size_t count = 0);
// `missing`: ranks, ascending.
std::string exchange_timeout_text(Bytes key, const std::vector<int64_t>& missing,
                                  int64_t world_size, Duration elapsed, size_t count = 0);

}  // namespace rdzv
