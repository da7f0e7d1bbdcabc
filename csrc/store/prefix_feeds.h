// What has changed under prefixes that somebody watches: of each, the keys that were written or
// erased, once each, in the order of their last change. So who has seen all up to one position is
// told the rest in a time that goes by what has changed, and not by what is there. A feed begins
// when a prefix is asked for, and goes when others need its place; how many there are, and what
// they remember, is bounded. Who asks for more than is remembered has to look at all keys again.
// Knows no values. Pure; the table's owner serialises the calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>

#include "base/bytes.h"
#include "base/hash.h"

namespace rdzv {

class PrefixFeeds {
 public:
  // Prefixes at a time, and how many different lengths they may have: a change looks at one prefix
  // of each length.
  static constexpr size_t kPrefixesMax = 1024;
  static constexpr size_t kLengthsMax = 32;
  // What changes take: of one prefix, of all.
  static constexpr size_t kBytesOfOneMax = 1024 * 1024;
  static constexpr size_t kBytesOfAllMax = 64 * 1024 * 1024;

  explicit PrefixFeeds(HashSeed seed) : feeds_(0, BytesHash{seed}) {}

  bool empty() const { return feeds_.empty(); }
  // The first position is behind this one, which is another one for each table that is filled anew.
  void begin_behind(uint64_t position) { position_ = position; }

  // Remembers what changes under the prefix from now on, if it does not yet. One that `is_awaited`
  // does not go for it. False: there are too many.
  bool keep(Bytes prefix, const std::function<bool(Bytes)>& is_awaited);
  // Of the last change, or since when changes are remembered; 0: they are not.
  uint64_t position(Bytes prefix) const;
  // Whether all changes since then are remembered.
  bool knows(Bytes prefix, uint64_t since) const;
  // The first change behind `since`: its key, and its position in place of `since`. Null: none.
  const std::string* next(Bytes prefix, uint64_t& since) const;

  // visit(prefix) of each that has the key.
  template <typename Visit>
  void note(Bytes key, Visit&& visit) {
    for (const auto& [length, count] : lengths_) {
      if (length > key.size()) return;
      const auto found = feeds_.find(key.substr(0, length));
      if (found == feeds_.end()) continue;
      note(found->second, key);
      visit(Bytes(found->first));
    }
  }

  size_t prefixes() const { return feeds_.size(); }
  size_t bytes() const { return bytes_; }

 private:
  struct Feed {
    uint64_t floor = 0;  // later changes are all remembered
    uint64_t last = 0;
    std::map<uint64_t, std::string> changes;
    std::map<Bytes, uint64_t> at;  // where each key is in these
    size_t bytes = 0;
    std::list<const std::string*>::iterator use;
  };

  void note(Feed& feed, Bytes key);
  void forget_first(Feed& feed);
  void end(Bytes prefix);

  BytesMap<Feed> feeds_;
  std::map<size_t, size_t> lengths_;    // of the prefixes; how many have each
  std::list<const std::string*> used_;  // the prefixes, the longest unused first
  uint64_t position_ = 0;
  size_t bytes_ = 0;
};

}  // namespace rdzv
