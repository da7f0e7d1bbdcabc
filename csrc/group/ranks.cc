#include "group/ranks.h"

#include <algorithm>
#include <map>
#include <span>
#include <tuple>
#include <utility>

#include "group/facts.h"
#include "group/seeded_bugs.h"

namespace rdzv {
namespace {

using Entry = Roster::Entry;
using Entries = std::vector<Entry*>;

const std::string& key_of(const Entry* entry) {
  return entry->second.facts.topology;
}

bool by_key(const Entry* a, const Entry* b) {
  return compare_topology(key_of(a), key_of(b)) < 0;
}

// Hands out ranks below the world size, each once.
class Ranks {
 public:
  explicit Ranks(size_t world_size) : holders_(world_size) {}

  bool is_free(size_t rank) const { return rank < holders_.size() && holders_[rank] == nullptr; }
  bool take(size_t rank, const Entry* entry) {
    if (!is_free(rank)) return false;
    holders_[rank] = entry;
    return true;
  }
  size_t next_free(size_t from) const {
    while (from < holders_.size() && holders_[from] != nullptr) ++from;
    return from;
  }
  // The first of so many free ones in a row; the world size: there are none.
  size_t free_run(size_t count) const {
    size_t run = 0;
    for (size_t rank = 0; rank < holders_.size(); ++rank) {
      run = holders_[rank] == nullptr ? run + 1 : 0;
      if (run == count) return rank + 1 - count;
    }
    return holders_.size();
  }
  std::span<const Entry* const> holders() const { return holders_; }

 private:
  std::vector<const Entry*> holders_;
};

// The rank that a node keeps if the round has it; kNoRank: any will do.
uint32_t kept_rank(const Member& member, const GroupSettings& settings) {
  if (settings.rank_by == RankBy::kGiven) return member.facts.rank;
  return settings.sticky_ranks && !has(Bug::kRanksNotSticky) ? member.rank : kNoRank;
}

// Places those that keep theirs; returns the others.
Entries keep_ranks(const Entries& nodes, const GroupSettings& settings, Ranks& ranks) {
  Entries others;
  for (Entry* entry : nodes) {
    const uint32_t kept = kept_rank(entry->second, settings);
    if (ranks.take(kept, entry)) {
      entry->second.rank = kept;
    } else {
      others.push_back(entry);
    }
  }
  return others;
}

void order_by_policy(Entries& others, RankBy rank_by) {
  if (rank_by == RankBy::kJoin) {
    std::ranges::sort(others, {}, [](const Entry* entry) { return entry->second.joined; });
  } else if (rank_by == RankBy::kGiven) {
    std::ranges::stable_sort(others, {},
                             [](const Entry* entry) { return entry->second.facts.rank; });
  }
}

// Puts nodes of one key beside those of that key that have their ranks. False: there is no room.
bool place_beside(std::span<Entry* const> nodes, Ranks& ranks) {
  const std::string& key = key_of(nodes.front());
  const auto has_key = [&](const Entry* entry) { return entry != nullptr && key_of(entry) == key; };
  const auto holders = ranks.holders();
  const auto first = std::ranges::find_if(holders, has_key);
  size_t from = 0;
  if (first == holders.end()) {
    from = ranks.free_run(nodes.size());
  } else {
    // The hole within, what follows, what comes before.
    from = static_cast<size_t>(first - holders.begin());
    size_t after = from;
    for (size_t rank = from; rank < holders.size(); ++rank)
      if (has_key(holders[rank])) after = rank + 1;
    size_t room =
        static_cast<size_t>(std::count(holders.begin() + static_cast<ptrdiff_t>(from),
                                       holders.begin() + static_cast<ptrdiff_t>(after), nullptr));
    for (; room < nodes.size() && ranks.is_free(after); ++after) ++room;
    for (; room < nodes.size() && from > 0 && ranks.is_free(from - 1); --from) ++room;
    if (room < nodes.size()) return false;
  }
  for (Entry* entry : nodes) {
    from = ranks.next_free(from);
    if (!ranks.take(from, entry)) return false;
    entry->second.rank = static_cast<uint32_t>(from);
  }
  return true;
}

// Each key has ranks in a row, and whole segments of them.
bool is_adjacent(const Ranks& ranks, uint32_t segment) {
  std::vector<const std::string*> begun;
  const auto holders = ranks.holders();
  for (size_t rank = 0; rank < holders.size(); ++rank) {
    const std::string& key = key_of(holders[rank]);
    if (!begun.empty() && *begun.back() == key) continue;
    if (rank % segment != 0) return false;
    begun.push_back(&key);
  }
  const auto less = [](const std::string* a, const std::string* b) { return *a < *b; };
  std::ranges::sort(begun, less);
  return std::ranges::adjacent_find(begun, [](const auto* a, const auto* b) { return *a == *b; }) ==
         begun.end();
}

// As many as can keep their ranks do, so long as nodes of one key are neighbours.
bool keep_topology(const Entries& nodes, const GroupSettings& settings) {
  Ranks ranks(nodes.size());
  const Entries others = keep_ranks(nodes, settings, ranks);
  if (others.size() == nodes.size()) return false;
  for (size_t begin = 0; begin < others.size();) {
    size_t end = begin + 1;
    while (end < others.size() && key_of(others[end]) == key_of(others[begin])) ++end;
    if (!place_beside(std::span(others).subspan(begin, end - begin), ranks)) return false;
    begin = end;
  }
  return is_adjacent(ranks, settings.segment);
}

// Of one key.
struct Segment {
  std::span<Entry* const> nodes;
  size_t former = 0;
  uint64_t complete_at = 0;  // the serial of the last one
};

bool is_former(const Entry* entry) {
  return entry->second.rank != kNoRank;
}

// Those that were a segment before stay one: who was in a whole one comes first.
void order_within(std::span<Entry*> nodes, uint32_t segment) {
  std::map<uint32_t, uint32_t> survivors;
  for (const Entry* entry : nodes)
    if (is_former(entry)) ++survivors[entry->second.rank / segment];
  const auto place = [&](const Entry* entry) {
    const Member& member = entry->second;
    if (!is_former(entry)) return std::tuple(2, uint64_t{0}, member.joined);
    const bool is_whole = survivors.at(member.rank / segment) == segment;
    return std::tuple(is_whole ? 0 : 1, uint64_t{member.rank}, member.joined);
  };
  std::ranges::sort(nodes, {}, place);
}

std::vector<Segment> segments_of(Entries& nodes, uint32_t segment) {
  std::ranges::stable_sort(nodes, by_key);
  std::vector<Segment> segments;
  for (size_t begin = 0; begin < nodes.size();) {
    size_t end = begin + 1;
    while (end < nodes.size() && key_of(nodes[end]) == key_of(nodes[begin])) ++end;
    order_within(std::span(nodes).subspan(begin, end - begin), segment);
    for (; end - begin >= segment; begin += segment) {
      Segment made{std::span(nodes).subspan(begin, segment)};
      for (const Entry* entry : made.nodes) {
        made.former += is_former(entry) ? 1 : 0;
        made.complete_at = std::max(made.complete_at, entry->second.joined);
      }
      segments.push_back(made);
    }
    begin = end;
  }
  return segments;
}

Entries forming_of(const Roster& roster) {
  return const_cast<Roster&>(roster).forming();
}

}  // namespace

size_t takeable(const Roster& roster, const GroupSettings& settings) {
  return settings.segment == 1 ? roster.count(Role::kForming) : roster.forming_blocks().whole();
}

size_t kept_places(const GroupState& state) {
  if (!state.settings || !state.settings->former_first || has(Bug::kNoPlaceIsKept)) return 0;
  return static_cast<size_t>(std::ranges::count_if(state.lost, [](const auto& each) {
    return each.second.reason == LossReason::kFailed && each.second.rank != kNoRank;
  }));
}

std::vector<NodeId> surplus(const Roster& roster, const GroupSettings& settings) {
  const uint32_t segment = has(Bug::kSegmentSplit) ? 1 : settings.segment;
  const size_t forming = roster.count(Role::kForming);
  if (forming <= settings.max_nodes && forming == takeable(roster, settings)) return {};
  Entries nodes = forming_of(roster);
  std::vector<Segment> segments = segments_of(nodes, segment);
  const auto place = [](const Segment& each) {
    const auto former = static_cast<int64_t>(each.former);
    return std::tuple(has(Bug::kNewcomersFirst) ? former : -former, each.complete_at);
  };
  std::ranges::sort(segments, {}, place);
  segments.resize(std::min<size_t>(segments.size(), settings.max_nodes / segment));
  std::vector<const Entry*> taken;
  for (const Segment& each : segments)
    taken.insert(taken.end(), each.nodes.begin(), each.nodes.end());
  std::ranges::sort(taken);
  std::vector<NodeId> left;
  for (const Entry* entry : nodes)
    if (!std::ranges::binary_search(taken, entry)) left.push_back(entry->first);
  return left;
}

void assign_ranks(const std::vector<Roster::Entry*>& nodes, const GroupSettings& settings) {
  if (has(Bug::kRankTwice)) {
    for (Roster::Entry* entry : nodes) entry->second.rank = 0;
    return;
  }
  if (settings.rank_by == RankBy::kTopology && !has(Bug::kTopologyApart)) {
    Entries sorted = nodes;
    std::ranges::stable_sort(sorted, by_key);
    const bool may_keep = settings.sticky_ranks && std::ranges::any_of(sorted, is_former);
    if (may_keep && keep_topology(sorted, settings)) return;
    for (size_t rank = 0; rank < sorted.size(); ++rank)
      sorted[rank]->second.rank = static_cast<uint32_t>(rank);
    return;
  }
  Ranks ranks(nodes.size());
  Entries others = keep_ranks(nodes, settings, ranks);
  order_by_policy(others, settings.rank_by);
  size_t rank = 0;
  for (Entry* entry : others) {
    rank = ranks.next_free(rank);
    ranks.take(rank, entry);
    entry->second.rank = static_cast<uint32_t>(rank);
  }
}

}  // namespace rdzv
