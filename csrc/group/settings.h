// What all nodes of a group must agree on. The first node that joins an empty group decides; the
// others must bring the same. Owns what is valid and how a difference is told. Plain values: any
// thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"
#include "wire/rank_by.h"

namespace rdzv {

struct GroupSettings {
  uint32_t min_nodes = 1;  // reaching it starts the last call
  uint32_t max_nodes = 1;  // reaching it completes the round at once
  // Whole milliseconds, not Durations: they are shared by machines and compared exactly.
  uint64_t last_call_ms = 30'000;
  uint64_t keep_alive_interval_ms = 5'000;
  uint32_t keep_alive_max_attempt = 3;
  RankBy rank_by = RankBy::kAddress;
  bool sticky_ranks = true;  // who was in the last complete round keeps its rank
  // A node of the last round whose job broke has its place kept until the last call is over.
  bool former_first = true;
  // Newcomers on the wait list are told once none has come for so long, or 10 times that since the
  // first one; 0: at once.
  uint64_t debounce_ms = 0;
  // A round has a multiple of so many nodes. With RankBy::kTopology, as many of each key.
  uint32_t segment = 1;

  bool operator==(const GroupSettings&) const = default;

  Duration last_call() const { return std::chrono::milliseconds(last_call_ms); }
  Duration keep_alive_interval() const { return std::chrono::milliseconds(keep_alive_interval_ms); }
  Duration debounce() const { return std::chrono::milliseconds(debounce_ms); }
  // A node whose heartbeat has not moved for this long is dead. kForever where the product would be
  // longer.
  Duration keep_alive_window() const;
};

// What is wrong with settings, if anything.
std::optional<std::string> settings_problem(const GroupSettings& settings);

// "min_nodes=2, max_nodes=4, last_call_timeout=30s, ..."
std::string to_text(const GroupSettings& settings);

// "topology"
const char* to_text(RankBy rank_by);

// The names of the fields that differ, with commas between; empty when equal.
std::string differing_fields(const GroupSettings& a, const GroupSettings& b);

}  // namespace rdzv
