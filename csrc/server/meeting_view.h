// Which ranks are missing at barriers and exchanges, found out once for all who stop waiting there
// at about the same time, in slices.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/hash.h"
#include "server/budget.h"
#include "server/exchanges.h"
#include "store/meeting.h"
#include "store/table.h"

namespace rdzv {

class MeetingView {
 public:
  MeetingView(HashSeed seed, Budget& budget) : budget_(budget), views_(0, BytesHash{seed}) {}

  // Looks at each rank once, and then again only at those that were missing, unless something was
  // erased meanwhile. Valid until the next call. Null: the budget is spent, ask again.
  const std::vector<int64_t>* missing(const BarrierCall& call, const Table& table);
  // The same at an exchange.
  const std::vector<int64_t>* missing(Bytes key, int64_t world_size, const Table& table,
                                      const Exchanges& exchanges);

 private:
  struct View {
    uint64_t version = 0;  // of the table, when those who are missing were looked at
    uint64_t losses = 0;
    int64_t round = -1;  // 0: of an exchange
    int64_t world_size = 0;
    int64_t next = 0;  // the first rank that was not looked at
    std::vector<int64_t> missing;
  };

  template <typename IsMissing>
  const std::vector<int64_t>* look(Bytes key, const Table& table, int64_t round, int64_t world_size,
                                   int64_t first, IsMissing&& is_missing);

  Budget& budget_;
  BytesMap<View> views_;
};

}  // namespace rdzv
