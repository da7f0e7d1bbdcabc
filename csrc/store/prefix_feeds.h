// What has changed under prefixes that somebody watches: of each, the keys that were written or
// erased, once each, in the order of their last change. So who has seen all up to one position is
// told the rest in a time that goes by what has changed, and not by what is there. A feed begins
// when a prefix is asked for, and goes when it has become too large, or when others need its place:
// what a write costs, and what is remembered, is bounded. Who asks for more than that has to look at
// all keys again. What has gone is cleared out of memory in parts. Knows no values. Pure; the table's
// owner serialises the calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/memory_account.h"

namespace rdzv {

class PrefixFeeds {
 public:
  // Prefixes at a time; and how many of them one key may have: a change is told to each.
  static constexpr size_t kPrefixesMax = 1024;
  static constexpr size_t kDepthMax = 8;
  // What prefixes and their changes take: of one, of all.
  static constexpr size_t kBytesOfOneMax = 1024 * 1024;
  static constexpr size_t kBytesOfAllMax = 64 * 1024 * 1024;
  // A change has two parts; who goes on writing clears faster than he fills.
  static constexpr size_t kClearedAChange = 4;

  PrefixFeeds() = default;
  PrefixFeeds(const PrefixFeeds&) = delete;
  PrefixFeeds& operator=(const PrefixFeeds&) = delete;

  bool empty() const { return feeds_.empty(); }
  // What is remembered is counted there, too; beyond `bytes_max` of all who are counted there, nothing
  // more is. The account outlives the feeds.
  void count_in(MemoryAccount& all, uint64_t bytes_max) {
    charge_ = Charge(&all, bytes_);
    all_ = &all;
    all_bytes_max_ = bytes_max;
  }
  // The first position is behind this one, which is another one for each table that is filled anew.
  void begin_behind(uint64_t position) { position_ = position; }

  // Remembers what changes under the prefix from now on, if it does not yet. One that `is_awaited`
  // does not go for it. False: there are too many, or they take too much.
  bool keep(Bytes prefix, const std::function<bool(Bytes)>& is_awaited);
  // Whether another one with this prefix would take more than all may.
  bool is_full(Bytes prefix) const;
  // Of the longest unused, forgets those that are not awaited.
  void end_idle(const std::function<bool(Bytes)>& is_awaited);
  // Something has gone and takes memory yet. It is no longer counted.
  bool has_gone() const { return !gone_.empty(); }
  // Clears up to `max` parts of it, each with an allocation of its own; returns how many.
  size_t clear_gone(size_t max);
  // Of the last change, or since when changes are remembered; 0: they are not.
  uint64_t position(Bytes prefix) const;
  // Whether all changes since then are remembered.
  bool knows(Bytes prefix, uint64_t since) const;
  // The first change behind `since`: its key, and its position in place of `since`. Null: none.
  const std::string* next(Bytes prefix, uint64_t& since) const;

  // visit(prefix) of each that has the key.
  template <typename Visit>
  void note(Bytes key, Visit&& visit) {
    bool is_too_large = false;
    for (Entry* entry = last_before(key); entry != nullptr; entry = entry->second.parent) {
      if (!key.starts_with(entry->first)) continue;
      is_too_large |= !note(entry->second, key);
      if (has_gone()) clear_gone(kClearedAChange);
      visit(Bytes(entry->first));
    }
    if (is_too_large) end_too_large(key);
  }
  // How many changes were noted since the last call.
  size_t take_noted() { return std::exchange(noted_, 0); }
  // Likewise how many prefixes were looked at for a place for another one.
  size_t take_visited() { return std::exchange(visited_, 0); }

  size_t prefixes() const { return feeds_.size(); }
  size_t bytes() const { return bytes_; }

 private:
  struct Feed;
  using Entry = std::pair<const std::string, Feed>;
  struct Feed {
    uint64_t begin = 0;  // later changes are all remembered
    uint64_t last = 0;
    std::map<uint64_t, std::string> changes;
    std::map<Bytes, uint64_t> at;  // where each key is in these
    size_t bytes = 0;
    Entry* parent = nullptr;  // the longest prefix of this one
    size_t depth = 1;
    std::list<Entry*>::iterator use;
  };
  using Feeds = std::map<std::string, Feed, std::less<>>;

  // All prefixes of a key are this one or above it, since they lie between it and what they begin.
  Entry* last_before(Bytes key) {
    const auto behind = feeds_.upper_bound(key);
    return behind == feeds_.begin() ? nullptr : &*std::prev(behind);
  }
  Entry* parent_of(Bytes prefix);
  // Of the prefixes that some key has with this one, the longest where they are most. Null: none.
  Entry* deepest_with(Bytes prefix);
  // Of this one and those above it, the longest unused that nobody waits for.
  Entry* oldest_of(Entry& deepest, const std::function<bool(Bytes)>& is_awaited);
  template <typename Visit>
  void for_each_below(Bytes prefix, Visit&& visit);
  bool note(Feed& feed, Bytes key);
  bool is_too_large(const Feed& feed) const;
  void add_bytes(Feed& feed, size_t bytes);
  void end_too_large(Bytes key);
  void end(Entry& entry);

  Feeds feeds_;
  std::multimap<std::string, Feed, std::less<>> gone_;
  std::list<Entry*> used_;  // the longest unused first
  uint64_t position_ = 0;
  size_t bytes_ = 0;
  const MemoryAccount* all_ = nullptr;
  uint64_t all_bytes_max_ = 0;
  Charge charge_;
  size_t noted_ = 0;
  size_t visited_ = 0;
};

}  // namespace rdzv
