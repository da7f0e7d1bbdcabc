#include "tools/scenario.h"

#include <array>
#include <cstdio>

#include "base/random.h"
#include "tools/process.h"

namespace rdzv::tools {

Mark mark(const Options& options) {
  return {now(), cpu_seconds_of(options.server_pid), own_cpu_seconds()};
}

void report_span(Report& report, const Options& options, const Mark& begin, const Mark& end,
                 uint64_t count, const std::string& each) {
  auto per_item = [&](double seconds) {
    return count == 0 ? 0.0 : seconds / static_cast<double>(count) * 1e6;
  };
  double seconds = to_seconds(end.at - begin.at);
  report.add("seconds", seconds);
  report.add("count", count);
  report.add("per_second", seconds > 0 ? static_cast<double>(count) / seconds : 0.0);
  if (options.server_pid != 0) {
    report.add("server_cpu_s", end.server_cpu_s - begin.server_cpu_s);
    report.add("server_cpu_us_per_" + each, per_item(end.server_cpu_s - begin.server_cpu_s));
  }
  report.add("driver_cpu_us_per_" + each, per_item(end.own_cpu_s - begin.own_cpu_s));
}

void report_swarm(Report& report, const Swarm& swarm) {
  report.add("connected", uint64_t{swarm.connected()});
  report.add("redials", swarm.redials());
  report.add("errors", swarm.errors());
  if (swarm.errors() > 0) {
    report.add("first_error", swarm.first_error());
    report.set_failed();
  }
}

std::string unique_prefix(const std::string& scenario) {
  std::array<uint8_t, 6> random{};
  fill_random(random.data(), random.size());
  std::string prefix = scenario + "/";
  for (uint8_t byte : random) {
    char text[3];
    std::snprintf(text, sizeof(text), "%02x", byte);
    prefix += text;
  }
  return prefix + "/";
}

}  // namespace rdzv::tools
