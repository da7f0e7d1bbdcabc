// Which keys are to be deleted when. Pure: it reads no clock and deletes nothing; its Table does,
// and the owner of that has the clock. Keys without a time cost nothing here.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/clock.h"

namespace rdzv {

class Expiries {
 public:
  bool empty() const { return times_.empty(); }
  // The memory that it takes, roughly.
  size_t bytes() const { return bytes_; }
  void set(Bytes key, Instant at);
  void clear(Bytes key);
  std::optional<Instant> find(Bytes key) const;
  // The earliest of all; keys of one moment in the order of their names.
  std::optional<Instant> next() const;
  const std::string* next_key() const { return empty() ? nullptr : order_.begin()->second; }
  // In this order, too: visit(key, at).
  template <typename Visit>
  void for_each_due(Instant now, Visit&& visit) const {
    for (auto one = order_.begin(); one != order_.end() && one->first <= now; ++one)
      visit(*one->second, one->first);
  }

 private:
  using Times = std::map<std::string, Instant, std::less<>>;
  struct Sooner {
    bool operator()(const std::pair<Instant, const std::string*>& left,
                    const std::pair<Instant, const std::string*>& right) const {
      return left.first != right.first ? left.first < right.first : *left.second < *right.second;
    }
  };

  static constexpr size_t kKeyBytes = 192;  // beside its name

  size_t bytes_ = 0;
  Times times_;
  std::set<std::pair<Instant, const std::string*>, Sooner> order_;  // the names are in times_
};

}  // namespace rdzv
