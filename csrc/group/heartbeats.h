// What one observer saw: for each node, how long ago its heartbeat last moved. By this observer's
// own monotonic clock only, because two machines' clocks are never compared; so it is not part of
// the shared state.
//
// Time is counted only while somebody watches. When the store cannot be reached, no heartbeat moves
// for anybody, and at the first read afterwards all nodes would look dead at once. So the time
// between two looks counts at most one keep-alive interval: a live node then has the rest of its
// window to be heard of again.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/gradual_map.h"
#include "group/node.h"
#include "group/roster.h"

namespace rdzv {

class Heartbeats {
 public:
  explicit Heartbeats(HashSeed seed) : seen_(0, NodeHash{seed}), forgotten_(0, NodeHash{seed}) {}
  Heartbeats(Heartbeats&&) = default;  // not copied: entries point at each other
  Heartbeats& operator=(Heartbeats&&) = default;

  // Somebody looks, at `now`. A clock that goes back counts as standing still.
  void look(Instant now, Duration counted_max);
  // The node's heartbeat moved, or it was listed.
  void moved(const NodeId& node, const Member& member);
  void forget(const NodeId& node);
  // The state was replaced: what did not change keeps its time, what did has moved now. Done nodes
  // are not watched. Forgotten nodes that are still there keep their time, too: whoever forgot them
  // could not write that to the store.
  void observe(const Roster& roster);

  // The node that is silent for longest, if that is at least `window`.
  const NodeId* silent_for(Duration window) const;
  // How long ago the node was heard, at `now`; nothing: nobody watches it.
  std::optional<Duration> silence_of(const NodeId& node, Instant now) const;
  // When to look again: some node's window may end then, or time would pass uncounted. None if
  // nobody is watched.
  std::optional<Instant> next_look(Duration window, Duration counted_max) const;

 private:
  struct Seen {
    uint64_t joined = 0;
    uint32_t beats = 0;
    Duration moved_at{0};  // in counted time
    std::list<std::pair<const NodeId, Seen>*>::iterator place;

    bool is_same(const Member& member) const {
      return joined == member.joined && beats == member.beats;
    }
  };
  using Index = GradualMap<NodeId, Seen, NodeHash>;

  Duration silence(const Index::value_type* entry) const {
    return counted_ - entry->second.moved_at;
  }

  Duration counted_{0};
  std::optional<Instant> looked_;
  Index seen_;
  std::list<Index::value_type*>
      order_;  // entries of seen_; longest silent first: what moves goes to the end
  // Nodes forgotten since the state was last replaced. Not kept while it never is: that group is
  // run by one owner.
  bool is_replaced_ = false;
  Index forgotten_;
};

}  // namespace rdzv
