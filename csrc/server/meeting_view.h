// Which ranks are missing at barriers and exchanges, found out once for all who stop waiting there
// at about the same time.
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

  // Looks at the ranks again only if something has happened since the last time: somebody has come
  // to the barrier, or anything was written. Valid until the next call.
  const std::vector<int64_t>& missing(const BarrierCall& call, const Table& table);
  // The same at an exchange.
  const std::vector<int64_t>& missing(Bytes key, int64_t world_size, const Table& table,
                                      const Exchanges& exchanges);

 private:
  struct View {
    uint64_t version = 0;
    size_t keys = 0;    // of an exchange: what is erased does not change the version
    int64_t round = 0;  // 0: of an exchange
    int64_t world_size = 0;
    std::vector<int64_t> missing;

    bool is_of(const View& other) const {
      return version == other.version && keys == other.keys && round == other.round &&
             world_size == other.world_size;
    }
  };

  template <typename Find>
  const std::vector<int64_t>& look(Bytes key, View wanted, Find&& find);

  Budget& budget_;
  BytesMap<View> views_;
};

}  // namespace rdzv
