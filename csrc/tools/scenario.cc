#include "tools/scenario.h"

#include <algorithm>

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

void Scenario::connect_all() {
  swarm_.dial_all();
  swarm_.run([&] { return swarm_.connected() == options_.connections; }, deadline_);
}

void Scenario::run_until_finished() {
  const auto is_read = [](const Connection& connection) {
    return connection.skip == 0 || !connection.fd;
  };
  swarm_.run(
      [&] {
        return finished_ + swarm_.errors() >= options_.connections &&
               std::ranges::all_of(swarm_.connections(), is_read);
      },
      deadline_);
}

void Scenario::report_memory(Report& report, const std::string& each, double bytes_before,
                             size_t count) {
  if (options_.server_pid == 0) return;
  const Quantity bytes = Quantity::span(bytes_before, anonymous_bytes_of(options_.server_pid));
  report.add_ratio("server_bytes_per_" + each, bytes, Quantity::same(static_cast<double>(count)));
}

void Scenario::report_swarm(Report& report) const {
  report.add_count("connected", swarm_.connected());
  report.add_count("redials", swarm_.redials());
  report.add_count("errors", swarm_.errors());
  if (!failed()) return;
  report.add("first_error", swarm_.first_error());
  report.set_failed();
}

}  // namespace rdzv::tools
