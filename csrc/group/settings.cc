#include "group/settings.h"

#include <cstdio>

#include "group/limits.h"

namespace rdzv {
namespace {

constexpr uint64_t kForeverMs =
    static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(kForever).count());

std::string in_seconds(uint64_t ms) {
  char text[32];
  std::snprintf(text, sizeof(text), "%gs", static_cast<double>(ms) / 1000);
  return text;
}

std::optional<std::string> time_problem(const char* name, uint64_t ms) {
  if (ms == 0) return std::string(name) + " must be positive";
  if (ms > kForeverMs) return std::string(name) + " must not be longer than 30 years";
  return std::nullopt;
}

// What is not said everywhere is not said.
std::string ranks_text(const GroupSettings& settings) {
  std::string text;
  if (settings.rank_by != RankBy::kAddress)
    text += std::string(", rank_by=") + to_text(settings.rank_by);
  if (!settings.sticky_ranks) text += ", sticky_ranks=false";
  if (!settings.former_first) text += ", former_first=false";
  if (settings.debounce_ms != 0) text += ", debounce=" + in_seconds(settings.debounce_ms);
  if (settings.segment != 1) text += ", segment=" + std::to_string(settings.segment);
  return text;
}

std::optional<std::string> segment_problem(const GroupSettings& settings) {
  const uint32_t segment = settings.segment;
  if (segment < 1) return "segment is 0; it must be at least 1";
  if (settings.min_nodes % segment == 0 && settings.max_nodes % segment == 0) return std::nullopt;
  return "min_nodes (" + std::to_string(settings.min_nodes) + ") and max_nodes (" +
         std::to_string(settings.max_nodes) + ") are not both multiples of segment (" +
         std::to_string(segment) + ")";
}

}  // namespace

Duration GroupSettings::keep_alive_window() const {
  const Duration interval = keep_alive_interval();
  if (interval > kForever / keep_alive_max_attempt) return kForever;
  return interval * keep_alive_max_attempt;
}

std::optional<std::string> settings_problem(const GroupSettings& settings) {
  if (settings.min_nodes < 1) return "min_nodes is 0; it must be at least 1";
  if (settings.max_nodes < settings.min_nodes) {
    return "max_nodes (" + std::to_string(settings.max_nodes) + ") is less than min_nodes (" +
           std::to_string(settings.min_nodes) + ")";
  }
  if (settings.max_nodes > kGroupNodesMax) {
    return "max_nodes is " + std::to_string(settings.max_nodes) + "; at most " +
           std::to_string(kGroupNodesMax) + " nodes are allowed";
  }
  if (auto problem = time_problem("last_call_timeout", settings.last_call_ms)) return problem;
  if (auto problem = time_problem("keep_alive_interval", settings.keep_alive_interval_ms)) {
    return problem;
  }
  if (settings.keep_alive_max_attempt < 1)
    return "keep_alive_max_attempt is 0; it must be at least 1";
  if (settings.keep_alive_max_attempt > kKeepAliveAttemptsMax) {
    return "keep_alive_max_attempt is " + std::to_string(settings.keep_alive_max_attempt) +
           "; at most " + std::to_string(kKeepAliveAttemptsMax) + " are allowed";
  }
  constexpr uint64_t kDebounceMsMax = 3'600'000;
  if (settings.debounce_ms > kDebounceMsMax) return "debounce must not be longer than an hour";
  return segment_problem(settings);
}

const char* to_text(RankBy rank_by) {
  static constexpr const char* kNames[] = {"address", "join", "given", "topology"};
  return kNames[static_cast<size_t>(rank_by)];
}

std::string to_text(const GroupSettings& settings) {
  return "min_nodes=" + std::to_string(settings.min_nodes) +
         ", max_nodes=" + std::to_string(settings.max_nodes) +
         ", last_call_timeout=" + in_seconds(settings.last_call_ms) +
         ", keep_alive_interval=" + in_seconds(settings.keep_alive_interval_ms) +
         ", keep_alive_max_attempt=" + std::to_string(settings.keep_alive_max_attempt) +
         ranks_text(settings);
}

std::string differing_fields(const GroupSettings& a, const GroupSettings& b) {
  std::string names;
  auto compare = [&names](const char* name, uint64_t x, uint64_t y) {
    if (x == y) return;
    if (!names.empty()) names += ", ";
    names += name;
  };
  compare("min_nodes", a.min_nodes, b.min_nodes);
  compare("max_nodes", a.max_nodes, b.max_nodes);
  compare("last_call_timeout", a.last_call_ms, b.last_call_ms);
  compare("keep_alive_interval", a.keep_alive_interval_ms, b.keep_alive_interval_ms);
  compare("keep_alive_max_attempt", a.keep_alive_max_attempt, b.keep_alive_max_attempt);
  compare("rank_by", static_cast<uint64_t>(a.rank_by), static_cast<uint64_t>(b.rank_by));
  compare("sticky_ranks", a.sticky_ranks, b.sticky_ranks);
  compare("former_first", a.former_first, b.former_first);
  compare("debounce", a.debounce_ms, b.debounce_ms);
  compare("segment", a.segment, b.segment);
  return names;
}

}  // namespace rdzv
