// What happens to the nodes of a run, drawn from a seed.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "group/group.h"
#include "rulebook_scene.h"

namespace rdzv::test {

struct Schedule {
  explicit Schedule(uint32_t seed) : random(seed) {
    settings.segment = draw(4) == 0 ? 2 : 1;
    settings.min_nodes = settings.segment * (1 + draw(2));
    settings.max_nodes = settings.min_nodes + settings.segment * draw(3);
    settings.last_call_ms = 30'000;
    settings.keep_alive_interval_ms = 5'000;
    settings.keep_alive_max_attempt = 3;
    settings.rank_by = static_cast<RankBy>(draw(4));
    settings.sticky_ranks = draw(5) > 0;
    settings.former_first = draw(3) > 0;
    settings.debounce_ms = draw(2) * 1000;
    for (int number = 8; number < 15; ++number) {
      const char* const keys[] = {"sw1/r1", "sw1/r2", "sw2/r1"};
      const NodeFacts brings{draw(settings.max_nodes), keys[draw(3)], 0};
      // Of some addresses another process may come, too.
      for (int pid = 1; pid <= (number < 11 ? 2 : 1); ++pid) {
        nodes.push_back(NodeId::make("host" + std::to_string(number), pid, 0));
        facts[nodes.back()] = brings;
      }
    }
  }

  uint32_t draw(uint32_t below) { return static_cast<uint32_t>(random() % below); }
  const NodeId& node() { return nodes[draw(static_cast<uint32_t>(nodes.size()))]; }
  // Joins are frequent; only towards the end may the run be closed.
  Deed deed(int step) {
    constexpr Deed kDeeds[] = {Deed::kJoin, Deed::kJoin, Deed::kJoin,  Deed::kJoin, Deed::kJoin,
                               Deed::kJoin, Deed::kJoin, Deed::kLeave, Deed::kFail, Deed::kFail,
                               Deed::kDie,  Deed::kTime, Deed::kTime,  Deed::kTime};
    if (step > 45 && draw(12) == 0) return draw(2) == 0 ? Deed::kClose : Deed::kVerdict;
    if (has_attempts && draw(25) == 0) return Deed::kAttempt;
    return kDeeds[draw(std::size(kDeeds))];
  }

  // What the node brings, of its start of the job. Now and then it has been started again with the
  // others, and is of the last one.
  NodeFacts brings(const NodeId& node) {
    if (draw(2) == 0) attempts[node] = last_attempt;
    NodeFacts own = facts.at(node);
    own.attempt = attempts[node];
    return own;
  }

  std::mt19937 random;
  const bool has_attempts = draw(3) == 0;
  std::map<NodeId, uint64_t> attempts;
  uint64_t last_attempt = 0;
  GroupSettings settings;
  std::vector<NodeId> nodes;
  std::map<NodeId, NodeFacts> facts;
};

}  // namespace rdzv::test
