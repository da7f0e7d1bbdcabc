// Which of the nodes that form a round it takes, and which ranks they get. Pure: knows no group.
#pragma once

#include <cstddef>
#include <vector>

#include "group/node.h"
#include "group/roster.h"
#include "group/settings.h"
#include "group/state.h"

namespace rdzv {

// How many of those that form could be in a round: all, or those in whole segments.
size_t takeable(const Roster& roster, const GroupSettings& settings);

// How many places are kept for nodes of the last round whose jobs broke, and who have not come back.
size_t kept_places(const GroupState& state);

// Those that form and are not taken: more than max nodes, or in no whole segment. Former members
// are taken first, then who joined first; with segments, those with the most former members.
std::vector<NodeId> surplus(const Roster& roster, const GroupSettings& settings);

// Gives ranks from 0 to those that form, who come in natural order and have the ranks of the last
// round.
void assign_ranks(const std::vector<Roster::Entry*>& nodes, const GroupSettings& settings);

}  // namespace rdzv
