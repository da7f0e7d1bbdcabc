// What an exchange has come to: the values by rank, encoded once for all who wait for them, or the
// ranks that have not come. Remembers the exchange that was looked at last, so that what many
// waiters are told is made once. Belongs to the server's loop thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "store/table.h"

namespace rdzv {

class ExchangeView {
 public:
  // Looks again only if the table has changed since the last time. `wire_key`: of the count.
  void look(const Table& table, Bytes wire_key, int64_t world_size);

  // Ranks without a value, ascending.
  const std::vector<int64_t>& missing() const { return missing_; }
  // The list of values as an answer carries it, if nobody is missing. Cut when it is larger than
  // an answer may be.
  SharedBytes values() const { return values_; }

  // Gives back what is too large to keep.
  void trim();

 private:
  std::string key_;
  int64_t world_size_ = 0;
  uint64_t table_version_ = 0;
  size_t table_size_ = 0;
  std::vector<int64_t> missing_;
  std::shared_ptr<std::string> values_ = std::make_shared<std::string>();
};

}  // namespace rdzv
