// By what the nodes of a run get their ranks: one of its settings, on the wire and in the rulebook.
#pragma once

#include <cstdint>

namespace rdzv {

enum class RankBy : uint8_t {
  kAddress = 0,   // natural order of the nodes
  kJoin = 1,      // order of joining
  kGiven = 2,     // each node brings its own
  kTopology = 3,  // each node brings a key; nodes with the same key are neighbours
  kLast = kTopology,
};

}  // namespace rdzv
