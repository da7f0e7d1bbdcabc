// Which ranks are missing at barriers, found out once for all who stop waiting there at about the
// same time. Belongs to the server's loop thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "store/meeting.h"
#include "store/table.h"

namespace rdzv {

class BarrierView {
 public:
  explicit BarrierView(HashSeed seed) : views_(0, BytesHash{seed}) {}

  // Looks at the ranks again only if somebody has come since the last time. Valid until the next
  // call.
  const std::vector<int64_t>& missing(const BarrierCall& call, const Table& table);

 private:
  struct View {
    uint64_t count_version = 0;
    int64_t round = 0;
    std::vector<int64_t> missing;
  };

  BytesMap<View> views_;
  size_t ranks_ = 0;  // in all views
};

}  // namespace rdzv
