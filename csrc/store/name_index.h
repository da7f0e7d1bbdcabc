// The names of a table's keys in order, so that what is asked of a prefix costs what the prefix
// has, and not what the table has. Kept only once it is wanted: most tables are never asked. The
// names are owned by the table. Pure; the table's owner serialises the calls.
#pragma once

#include <cstddef>
#include <iterator>
#include <optional>
#include <set>
#include <string>

#include "base/bytes.h"

namespace rdzv {

class NameIndex {
 public:
  bool is_kept() const { return is_kept_; }
  void keep() { is_kept_ = true; }

  // `name` lives until it is removed.
  void add(Bytes name) {
    // Who sets many at once names them in order, as a rule: each lies behind the last.
    if (is_kept_) next_ = std::next(names_.insert(next_, name));
  }
  void remove(Bytes name) {
    if (!is_kept_) return;
    const auto found = names_.find(name);
    if (found == next_) ++next_;
    names_.erase(found);
  }

  // Visits up to `max` names that begin with `prefix` and come behind `last` (none: from the first
  // one); `last` is the one that was visited last then. `done`: there are no more.
  template <typename Visit>
  void walk(Bytes prefix, std::optional<std::string>& last, size_t max, bool& done,
            Visit&& visit) const {
    auto at = last ? names_.upper_bound(*last) : names_.lower_bound(prefix);
    Bytes seen;
    size_t count = 0;
    for (; count < max && at != names_.end() && at->starts_with(prefix); ++at, ++count) {
      seen = *at;
      visit(seen);
    }
    done = at == names_.end() || !at->starts_with(prefix);
    if (count > 0) last.emplace(seen);
  }

 private:
  std::set<Bytes> names_;
  std::set<Bytes>::const_iterator next_ = names_.end();  // behind the last that was added
  bool is_kept_ = false;
};

}  // namespace rdzv
