#include "group/facts.h"

#include <algorithm>

#include "base/text.h"
#include "group/limits.h"
#include "group/node.h"

namespace rdzv {
namespace {

// Cuts the first part off.
std::string_view first_part(std::string_view& key) {
  const size_t end = std::min(key.find('/'), key.size());
  const std::string_view part = key.substr(0, end);
  key.remove_prefix(std::min(end + 1, key.size()));
  return part;
}

std::optional<std::string> given_problem(uint32_t rank, const GroupSettings& settings) {
  if (rank == kNoRank) {
    return "rank_by=given, but this node was not given a rank; give each node a rank of its own "
           "(rank=0, rank=1, ...)";
  }
  if (rank < settings.max_nodes) return std::nullopt;
  return "the given rank is " + std::to_string(rank) + ", but the run has at most " +
         counted(settings.max_nodes, "node") + ", and ranks count from 0";
}

std::optional<std::string> topology_problem(const std::string& key) {
  if (key.empty()) {
    return "rank_by=topology, but this node does not say where it is; give each node the name of "
           "its switch, rack or domain (topology=switch1/rack2)";
  }
  if (key.size() > kTopologyBytesMax) {
    return "the topology key has " + std::to_string(key.size()) + " bytes; at most " +
           std::to_string(kTopologyBytesMax) + " are allowed";
  }
  if (!is_printable_utf8(key)) return "the topology key is not UTF-8 without control characters";
  return std::nullopt;
}

}  // namespace

std::optional<std::string> facts_problem(const NodeFacts& facts, const GroupSettings& settings) {
  if (facts.attempt > kAttemptMax)
    return "attempt is " + std::to_string(facts.attempt) + "; no attempt can have this number";
  switch (settings.rank_by) {
    case RankBy::kGiven:
      return given_problem(facts.rank, settings);
    case RankBy::kTopology:
      return topology_problem(facts.topology);
    default:
      return std::nullopt;
  }
}

NodeFacts used_facts(const NodeFacts& facts, const GroupSettings& settings) {
  NodeFacts used;
  if (settings.rank_by == RankBy::kGiven) used.rank = facts.rank;
  if (settings.rank_by == RankBy::kTopology) used.topology = facts.topology;
  return used;
}

std::strong_ordering compare_topology(std::string_view a, std::string_view b) {
  std::string_view left = a;
  std::string_view right = b;
  while (!left.empty() && !right.empty()) {
    const std::string_view x = first_part(left);
    const std::string_view y = first_part(right);
    if (x == y) continue;
    const auto natural = compare_natural(x, y);
    return natural != 0 ? natural : x <=> y;
  }
  if (left.empty() != right.empty()) return right.empty() <=> left.empty();
  return a <=> b;  // they differ in a last slash alone
}

}  // namespace rdzv
