#include "tools/scenario.h"

#include "tools/process.h"

namespace rdzv::tools {

Mark mark(const Options& options) {
  return {now(), cpu_seconds_of(options.server_pid), own_cpu_seconds()};
}

void report_span(Report& report, const Options& options, const Mark& begin, const Mark& end,
                 uint64_t count, const std::string& each) {
  Quantity time = Quantity::span(begin.at, end.at);
  Quantity items = Quantity::sum(static_cast<double>(count));
  Quantity server_cpu = Quantity::span(begin.server_cpu_s, end.server_cpu_s);
  Quantity own_cpu = Quantity::sum(end.own_cpu_s - begin.own_cpu_s);
  report.add("seconds", time);
  report.add_count("count", count);
  report.add_ratio("per_second", items, time);
  if (options.server_pid != 0) {
    report.add("server_cpu_s", server_cpu);
    report.add_ratio("server_cpu_us_per_" + each, server_cpu, items, 1e6);
  }
  report.add_ratio("driver_cpu_us_per_" + each, own_cpu, items, 1e6);
}

void report_swarm(Report& report, const Swarm& swarm) {
  report.add_count("connected", swarm.connected());
  report.add_count("redials", swarm.redials());
  report.add_count("errors", swarm.errors());
  if (swarm.errors() > 0) {
    report.add("first_error", swarm.first_error());
    report.set_failed();
  }
}

}  // namespace rdzv::tools
