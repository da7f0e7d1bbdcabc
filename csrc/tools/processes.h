// Plays a scenario by as many processes as it needs: one has a limit of open files, and one core.
// They are forked, meet between a scenario's phases, and their reports become one. A coordinator,
// which is this process, plays nothing itself.
#pragma once

#include <functional>

#include "tools/options.h"
#include "tools/part.h"
#include "tools/report.h"

namespace rdzv::tools {

using Scene = std::function<void(const Options&, Part&, Report&)>;

// In this process, if one is enough and --processes names no other number. `can_share` is false for
// a scenario of one connection. Throws the first Error of any process, after ending the others;
// Error{kLimit}, before anything is played, when the server's process may not have so many open
// files.
void play(const Options& options, bool can_share, const Scene& scene, Report& report);

}  // namespace rdzv::tools
