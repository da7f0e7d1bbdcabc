// What the answers about runs say in words. Pure.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "group/group.h"

namespace rdzv {

// Of the round that forms, or of the complete one that others wait for: how many are in it, and
// some of their names. Cost does not grow with the group.
std::string who_is_there(const GroupState& state, bool forming);
std::string names_of_who_is_there(const GroupState& state, bool forming);

// "run 'x': 1 of at least 2 (at most 4) nodes joined within 5 s: a (pid 1); ..."
std::string join_timeout_text(Bytes run_id, Bytes who, Bytes names, bool forming, Duration timeout);
std::string closed_text(Bytes run_id, const NodeId& node, const Group& group);
std::string failed_text(Bytes run_id, const Group& group);
std::string mixed_text(Bytes operation);

}  // namespace rdzv
