// The promises of docs/rulebook.md, held against one history of states of a run.
// Numbers are those of the page's sentences.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "group/group.h"

namespace rdzv::test {

struct BrokenPromise : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void promise(bool is_kept, const std::string& what) {
  if (!is_kept) throw BrokenPromise(what);
}

// A run at one moment, however it is kept.
struct Snapshot {
  uint64_t round = 1;
  bool complete = false;
  bool closed = false;
  bool has_failed = false;
  uint64_t finished_round = 0;
  uint64_t failed_round = 0;
  uint32_t world_size = 0;
  uint64_t changes = 0;  // for an active one
  size_t strangers = 0;  // active ones of which only the rank is known
  std::map<NodeId, Placement> placements;
  std::vector<NodeId> spares;  // in order of joining
  std::set<NodeId> lost;
  // Of nodes that are in no complete round, the ranks that they have had; where that can be seen.
  std::map<NodeId, int64_t> remembered{};

  std::optional<Role> role(const NodeId& node) const { return placements.at(node).role; }
  size_t count(Role role) const {
    return static_cast<size_t>(std::ranges::count_if(
        placements, [&](const auto& each) { return each.second.role == role; }));
  }
  std::vector<NodeId> by_rank() const {
    std::map<int64_t, NodeId> ranked;
    for (const auto& [node, placement] : placements)
      if (placement.role == Role::kActive) ranked.emplace(placement.rank, node);
    std::vector<NodeId> nodes;
    for (const auto& [rank, node] : ranked) nodes.push_back(node);
    return nodes;
  }
};

inline Snapshot snapshot_of(const Group& group, const std::vector<NodeId>& everyone) {
  const GroupState& state = group.state();
  Snapshot seen;
  seen.round = state.round;
  seen.complete = state.complete;
  seen.closed = state.closed;
  seen.has_failed = group.has_failed();
  seen.finished_round = state.finished_round;
  seen.failed_round = state.failed_round;
  seen.world_size = state.world_size;
  seen.changes = group.changes();
  seen.spares = group.spares();
  for (const NodeId& node : everyone) seen.placements[node] = group.placement(node);
  for (const NodeId& node : group.lost()) seen.lost.insert(node);
  for (const NodeId& node : everyone) {
    const Member* member = state.roster.find(node);
    const bool is_ranked =
        member == nullptr || member->role == Role::kActive || member->role == Role::kDone;
    if (!is_ranked && member->rank != kNoRank) seen.remembered[node] = member->rank;
  }
  return seen;
}

// kAttempt: a node joins that belongs to a later start of the job than all before it. kVerdict: the run
// is closed, and not to be restarted. kResume: a node takes its place again at a keeper that has lost
// its memory (kRestart).
enum class Deed {
  kTime,
  kJoin,
  kLeave,
  kFail,
  kDie,
  kClose,
  kVerdict,
  kAttempt,
  kRestart,
  kResume
};

struct Cause {
  Deed deed = Deed::kTime;
  std::optional<NodeId> who{};
  std::optional<uint64_t> attempt{};  // that it belongs to from now on
};

class Promises {
 public:
  Promises(const GroupSettings& settings, const std::vector<NodeId>& everyone,
           std::map<NodeId, NodeFacts> facts)
      : settings_(settings), facts_(std::move(facts)) {
    for (const NodeId& node : everyone) now_.placements[node] = {};
  }

  // What it asked for, of which start of the job it was then, and who sends no signs of life.
  std::map<NodeId, uint64_t> asked;
  std::map<NodeId, uint64_t> attempts;
  std::set<NodeId> dead;
  size_t completed = 0;
  size_t resumed = 0;
  // The round and rank that each node was in last, as it knows itself.
  std::map<NodeId, std::pair<uint64_t, int64_t>> places;
  size_t displacements = 0;  // by later attempts, of nodes that were listed
  size_t replaced = 0;       // by another process at the address

  // The keeper has lost its memory.
  void restart() {
    Snapshot nothing;
    for (const auto& [node, placement] : now_.placements) nothing.placements[node] = {};
    now_ = std::move(nothing);
    ranks_.clear();
    held_.clear();
    failed_.clear();
  }

  const Snapshot& now() const { return now_; }

  void step(Snapshot next, const Cause& cause) {
    const Snapshot before = std::exchange(now_, std::move(next));
    const bool is_new = now_.complete && (!before.complete || now_.round != before.round);
    sizes();
    if (cause.attempt) attempts[*cause.who] = *cause.attempt;
    starts(before, cause);
    // The number of a round that has formed in vain may come again, where a keeper is told of one.
    const bool is_told = cause.deed == Deed::kResume && !before.complete;
    promise(now_.round >= before.round || is_told, "2: rounds only grow");
    if (before.complete && !now_.complete)
      promise(now_.round > before.round, "2: no round is complete twice");
    if (cause.deed != Deed::kResume) displaced(before, cause, is_new);
    replace(before, cause);
    forget(before, cause);
    if (cause.deed == Deed::kResume) {
      resumes(*cause.who, is_new);
    } else if (is_new) {
      began(before, cause);
    } else if (now_.complete) {
      goes_on();
    }
    for (const auto& [node, rank] : now_.remembered) {
      const auto held = held_.find(node);
      promise(held != held_.end() && held->second == rank,
              "17: " + to_text(node) + " has a rank of an earlier round");
    }
    keeps_places(before, cause, is_new);
    closed(before, cause, is_new);
    given();
  }

 private:
  bool is_kept() const { return settings_.former_first && !now_.lost.empty(); }

  // In a running round, nobody new gets a place that is kept.
  void keeps_places(const Snapshot& before, const Cause& cause, bool is_new) {
    const bool was_in_it = cause.who && (before.role(*cause.who) == Role::kActive ||
                                         before.role(*cause.who) == Role::kForming);
    if (is_new || cause.deed == Deed::kAttempt) failed_.clear();
    if (cause.deed == Deed::kFail && was_in_it && held_.contains(*cause.who) && !is_new)
      failed_.insert(*cause.who);
    std::erase_if(failed_, [&](const NodeId& node) { return now_.role(node).has_value(); });
    if (!now_.complete || is_new || settings_.segment > 1 || !settings_.former_first) return;
    const size_t taken =
        now_.count(Role::kActive) + now_.count(Role::kDone) + now_.count(Role::kWaiting);
    for (const auto& [node, placement] : now_.placements) {
      const bool came = placement.role == Role::kWaiting && !held_.contains(node) &&
                        before.role(node) != Role::kWaiting;
      promise(!came || taken + failed_.size() <= settings_.max_nodes,
              "15: a place that is kept was given");
    }
  }

  void sizes() const {
    const size_t taken =
        now_.count(Role::kActive) + now_.count(Role::kDone) + now_.count(Role::kWaiting);
    if (now_.complete) {
      promise(now_.world_size >= settings_.min_nodes && now_.world_size <= settings_.max_nodes,
              "3: the size of a round");
      promise(now_.world_size % settings_.segment == 0, "3: a multiple of segment");
      promise(now_.count(Role::kActive) + now_.strangers > 0, "8: a round has an active node");
      promise(taken <= settings_.max_nodes, "14: no more nodes than places");
      if (settings_.segment == 1 && !is_kept())
        promise(taken + now_.strangers == settings_.max_nodes || now_.spares.empty(),
                "14: a free place is given");
    } else if (settings_.segment == 1 && !is_kept()) {
      promise(now_.count(Role::kForming) < settings_.max_nodes, "6: max_nodes complete a round");
    }
    if (!now_.lost.empty())
      promise(now_.changes == now_.count(Role::kWaiting) + now_.lost.size(), "24: told at once");
  }

  // Who had a place has one, unless it, or the run, went.
  void displaced(const Snapshot& before, const Cause& cause, bool is_new) const {
    const bool is_over = cause.deed == Deed::kClose || cause.deed == Deed::kVerdict ||
                         cause.deed == Deed::kAttempt ||
                         now_.finished_round != before.finished_round ||
                         now_.failed_round != before.failed_round;
    if (is_over) return;
    for (const auto& [node, placement] : before.placements) {
      if (!placement.role || node == cause.who) continue;
      const auto role = now_.role(node);
      if (placement.role == Role::kActive && !role)
        promise(now_.lost.contains(node) || !now_.complete || is_new, "24: a loss is told");
      if (placement.role == Role::kSpare || placement.role == Role::kDone) continue;
      if (!role) {
        promise(dead.contains(node), "13: " + to_text(node) + " lost its place");
      } else if (role == Role::kSpare) {
        promise(placement.role != Role::kActive, "13: a spare displaced a participant");
        promise(!held_.contains(node) || is_new, "15: a former member became a spare");
      }
    }
    // The first spare is the first that gets a place.
    if (settings_.segment > 1 || !now_.complete || is_new) return;
    bool is_left = false;
    for (const NodeId& spare : before.spares) {
      const auto role = now_.role(spare);
      if (role == Role::kSpare) is_left = true;
      if (role == Role::kWaiting && spare != cause.who)
        promise(!is_left, "14: a later spare got the place");
    }
  }

  // 26: nodes of one start of the job alone are listed.
  void starts(const Snapshot& before, const Cause& cause) {
    std::set<uint64_t> listed;
    for (const auto& [node, placement] : now_.placements)
      if (placement.role) listed.insert(attempts[node]);
    promise(listed.size() <= 1, "26: nodes of two attempts are listed");
    if (cause.deed != Deed::kAttempt) return;
    for (const auto& [node, placement] : before.placements)
      if (placement.role && node != cause.who) ++displacements;
  }

  // 17: a process that is new at the address of a lost node has the rank of that.
  void replace(const Snapshot& before, const Cause& cause) {
    if (cause.deed != Deed::kJoin || before.role(*cause.who) || !now_.role(*cause.who)) return;
    if (held_.contains(*cause.who)) return;
    for (const NodeId& lost : before.lost) {
      const auto held = held_.find(lost);
      // One that is back is named on, and has its rank itself.
      if (lost.addr != cause.who->addr || held == held_.end() || before.role(lost)) continue;
      held_[*cause.who] = held->second;
      held_.erase(held);
      failed_.erase(lost);
      ++replaced;
      return;
    }
  }

  // A keeper without memory takes it for what it says.
  void resumes(const NodeId& who, bool is_new) {
    ++resumed;
    if (is_new) {
      ranks_.clear();
      for (const auto& [node, place] : places)
        if (place.first == now_.round) ranks_[node] = place.second;
    }
    promise(now_.complete && now_.round == places.at(who).first, "2: not the round it was in");
    held_[who] = places.at(who).second;
    goes_on();
  }

  // Who went by itself is a newcomer from then on.
  void forget(const Snapshot& before, const Cause& cause) {
    if (cause.deed == Deed::kAttempt) held_.clear();
    for (const auto& [node, placement] : before.placements) {
      if (!placement.role || now_.role(node)) continue;
      const bool waited = placement.role == Role::kWaiting || placement.role == Role::kSpare;
      if (waited || (placement.role == Role::kForming && cause.deed == Deed::kLeave))
        held_.erase(node);
    }
    std::erase_if(held_, [&](const auto& each) {
      return !now_.role(each.first) && !now_.lost.contains(each.first);
    });
  }

  void began(const Snapshot& before, const Cause& cause) {
    ++completed;
    const std::vector<NodeId> nodes = now_.by_rank();
    // Where it is seen late, a node may be lost already.
    const bool is_whole = nodes.size() == now_.world_size;
    promise(is_whole || !now_.lost.empty(), "4: each rank once");
    for (size_t rank = 0; rank < nodes.size(); ++rank) {
      promise(!is_whole || now_.placements.at(nodes[rank]).rank == static_cast<int64_t>(rank),
              "4: ranks from 0");
      promise(before.role(nodes[rank]) || nodes[rank] == cause.who, "5: it was not there");
      promise(now_.round > asked[nodes[rank]], "7: it did not ask for this round");
    }
    takes_former_first(before);
    if (is_whole) {
      keeps_ranks(nodes);
      follows_policy(nodes);
    }
    ranks_.clear();
    for (const NodeId& node : nodes) ranks_[node] = now_.placements.at(node).rank;
    held_ = ranks_;
    for (const auto& [node, rank] : ranks_) places[node] = {now_.round, rank};
  }

  void takes_former_first(const Snapshot&) const {
    if (settings_.segment > 1 || !settings_.former_first) return;
    const bool is_out =
        std::ranges::any_of(now_.spares, [&](const NodeId& node) { return held_.contains(node); });
    const auto nodes = now_.by_rank();
    const bool has_new =
        std::ranges::any_of(nodes, [&](const NodeId& node) { return !held_.contains(node); });
    promise(!is_out || !has_new, "16: a newcomer has the place of a former member");
  }

  void keeps_ranks(const std::vector<NodeId>& nodes) const {
    const auto size = static_cast<int64_t>(nodes.size());
    for (int64_t rank = 0; rank < size; ++rank) {
      const NodeId& node = nodes[static_cast<size_t>(rank)];
      if (settings_.rank_by == RankBy::kGiven) {
        const int64_t given = facts_.at(node).rank;
        promise(given == rank || given >= size, "20: not the given rank");
      } else if (settings_.rank_by != RankBy::kTopology && settings_.sticky_ranks) {
        const auto held = held_.find(node);
        if (held != held_.end() && held->second < size)
          promise(held->second == rank, "17: " + to_text(node) + " did not keep its rank");
      }
    }
  }

  void follows_policy(const std::vector<NodeId>& nodes) const {
    const bool is_anew =
        !settings_.sticky_ranks ||
        std::ranges::none_of(nodes, [&](const NodeId& node) { return held_.contains(node); });
    if (settings_.rank_by == RankBy::kAddress && is_anew)
      promise(std::ranges::is_sorted(nodes), "19: natural order");
    if (settings_.rank_by != RankBy::kTopology) return;
    std::set<std::string> begun;
    for (size_t rank = 0; rank < nodes.size(); ++rank) {
      const std::string& key = facts_.at(nodes[rank]).topology;
      if (rank > 0 && facts_.at(nodes[rank - 1]).topology == key) continue;
      promise(rank % settings_.segment == 0, "22: a segment is split");
      promise(begun.insert(key).second, "21: nodes of a key are apart");
    }
  }

  void goes_on() const {
    for (const auto& [node, placement] : now_.placements) {
      if (placement.role != Role::kActive && placement.role != Role::kDone) continue;
      const auto known = ranks_.find(node);
      promise(known != ranks_.end() && known->second == placement.rank, "4: a rank has changed");
    }
  }

  void closed(const Snapshot& before, const Cause& cause, bool is_new) const {
    const bool is_verdict = before.closed && before.has_failed && cause.deed != Deed::kAttempt;
    promise(!is_verdict || (now_.closed && now_.has_failed), "28: a verdict does not go away");
    promise(cause.deed != Deed::kVerdict || now_.has_failed, "28: a verdict is known at once");
    if (!now_.closed) return;
    promise(now_.count(Role::kForming) + now_.count(Role::kWaiting) + now_.spares.size() == 0,
            "9: a closed run takes no node");
    promise(!is_new || !before.closed, "9: a closed run completes no round");
  }

  void given() const {
    if (settings_.rank_by != RankBy::kGiven) return;
    std::set<uint32_t> seen;
    for (const auto& [node, placement] : now_.placements) {
      if (!placement.role || placement.role == Role::kDone) continue;
      promise(seen.insert(facts_.at(node).rank).second, "20: a given rank twice");
    }
  }

  const GroupSettings settings_;
  const std::map<NodeId, NodeFacts> facts_;
  Snapshot now_;
  std::map<NodeId, int64_t> ranks_;
  std::map<NodeId, int64_t> held_;
  std::set<NodeId> failed_;
};

}  // namespace rdzv::test
