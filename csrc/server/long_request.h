// A request that may take longer than a connection's turn, and is done in slices then. The
// connection's later requests wait for it; nobody else does. Others may write between two slices.
// Lives with its connection.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "base/memory_account.h"
#include "server/budget.h"
#include "store/table.h"
#include "wire/limits.h"

namespace rdzv {

class LongRequest {
 public:
  virtual ~LongRequest() = default;
  // True: it is answered. False: the budget is spent.
  virtual bool go_on(Budget& budget) = 0;
};

// Lists the keys of a prefix: `put` appends one to the answer.
class PrefixListing {
 public:
  // What it holds is charged to `unsent`.
  PrefixListing(Bytes prefix, MemoryAccount& unsent) : walk_(prefix), charge_(&unsent) {}

  // False: the budget is spent.
  template <typename Put>
  bool go_on(TableView& table, Budget& budget, Put&& put) {
    while (!is_whole() && !budget.is_spent()) {
      const size_t before = bytes_.size();
      size_t count = 0;
      table.walk(walk_, kAtOnce, [&](Bytes key) {
        put(bytes_, key);
        ++count;
      });
      count_ += count;
      budget.spend((count + 1) * Budget::kName + (bytes_.size() - before) / Budget::kBytesAUnit);
    }
    charge_.resize(bytes_.capacity());
    return is_whole();
  }

  bool is_too_large() const { return bytes_.size() > limits::kRequestBytesMax; }
  size_t count() const { return count_; }
  // The whole list, for an answer, which is charged by itself.
  std::string take() {
    charge_.resize(0);
    return std::move(bytes_);
  }

 private:
  static constexpr size_t kAtOnce = 64;

  bool is_whole() const { return walk_.done || is_too_large(); }

  Table::PrefixWalk walk_;
  std::string bytes_;
  size_t count_ = 0;
  Charge charge_;
};

}  // namespace rdzv
