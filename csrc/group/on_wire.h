// Settings, facts and nodes of the rulebook as the native protocol's messages have them, and back.
#pragma once

#include "group/facts.h"
#include "group/node.h"
#include "group/settings.h"
#include "wire/run_messages.h"

namespace rdzv {

inline GroupSettings settings_of(const native::RunSettings& wire) {
  GroupSettings settings;
  settings.min_nodes = wire.min_nodes;
  settings.max_nodes = wire.max_nodes;
  settings.last_call_ms = wire.last_call_ms;
  settings.keep_alive_interval_ms = wire.keep_alive_interval_ms;
  settings.keep_alive_max_attempt = wire.keep_alive_max_attempt;
  settings.rank_by = wire.rank_by;
  settings.sticky_ranks = wire.sticky_ranks;
  settings.former_first = wire.former_first;
  settings.debounce_ms = wire.debounce_ms;
  settings.segment = wire.segment;
  return settings;
}

inline native::RunSettings wire_settings(const GroupSettings& settings) {
  native::RunSettings wire;
  wire.min_nodes = settings.min_nodes;
  wire.max_nodes = settings.max_nodes;
  wire.last_call_ms = settings.last_call_ms;
  wire.keep_alive_interval_ms = settings.keep_alive_interval_ms;
  wire.keep_alive_max_attempt = settings.keep_alive_max_attempt;
  wire.rank_by = settings.rank_by;
  wire.sticky_ranks = settings.sticky_ranks;
  wire.former_first = settings.former_first;
  wire.debounce_ms = settings.debounce_ms;
  wire.segment = settings.segment;
  return wire;
}

inline NodeFacts facts_of(const native::RunFacts& wire) {
  return NodeFacts{wire.rank, std::string(wire.topology), wire.attempt};
}

// A view of them.
inline native::RunFacts wire_facts(const NodeFacts& facts) {
  return native::RunFacts{facts.rank, facts.topology, facts.attempt};
}

}  // namespace rdzv
