// The scenarios of the load driver, one function each: runs it against the server and reports.
// Throws Error; what single requests met is counted in the report. Each plays the ranks of its part
// and meets the other parts between its phases.
#pragma once

#include <string>

#include "base/clock.h"
#include "tools/options.h"
#include "tools/part.h"
#include "tools/report.h"
#include "tools/swarm.h"

namespace rdzv::tools {

void run_ops(const Options& options, Part& part, Report& report);
void run_start(const Options& options, Part& part, Report& report);
void run_idle(const Options& options, Part& part, Report& report);
void run_keys(const Options& options, Part& part, Report& report);
void run_barrier(const Options& options, Part& part, Report& report);
void run_exchange(const Options& options, Part& part, Report& report);
void run_ids(const Options& options, Part& part, Report& report);
void run_multi_set(const Options& options, Part& part, Report& report);
void run_rendezvous(const Options& options, Part& part, Report& report);
void run_keepalive(const Options& options, Part& part, Report& report);

// A moment of a run, to take differences of.
struct Mark {
  Instant at{};
  double server_cpu_s = 0;
  double own_cpu_s = 0;
};
Mark mark(const Options& options);

// seconds, and, where the server's process is known, its CPU time: in all and for each of `count`,
// which is this part's.
void report_span(Report& report, const Options& options, const Mark& begin, const Mark& end,
                 uint64_t count, const std::string& each);
void report_swarm(Report& report, const Swarm& swarm);

}  // namespace rdzv::tools
