// What a node brings along beside its name: its own part of what ranks follow. Plain values.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "group/settings.h"

namespace rdzv {

inline constexpr uint32_t kNoRank = UINT32_MAX;

struct NodeFacts {
  uint32_t rank = kNoRank;  // that it was given; kNoRank: none
  // Where it is, in parts from the outermost to the innermost with '/' between: "switch1/rack2".
  // Empty: it does not say.
  std::string topology;
  // Which start of the whole job the node belongs to; 0: it does not say.
  uint64_t attempt = 0;

  bool operator==(const NodeFacts&) const = default;
};

// What is wrong with them in a group of these settings, if anything.
std::optional<std::string> facts_problem(const NodeFacts& facts, const GroupSettings& settings);

// Those that a group of these settings looks at.
NodeFacts used_facts(const NodeFacts& facts, const GroupSettings& settings);

// Part by part, each in natural order. Total: different keys differ.
std::strong_ordering compare_topology(std::string_view a, std::string_view b);

}  // namespace rdzv
