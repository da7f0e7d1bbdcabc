// The load driver: plays many ranks of a store's clients, from one process or several, over real
// TCP connections, and prints what it found as one JSON object. See load_driver --help.
#include <csignal>
#include <cstdio>

#include "base/error.h"
#include "tools/options.h"
#include "tools/processes.h"
#include "tools/report.h"
#include "tools/scenario.h"

namespace rdzv::tools {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongArguments = 2;

struct Scenario {
  const char* name;
  void (*run)(const Options&, Part&, Report&);
  bool can_share = true;  // its connections, among processes
};
constexpr Scenario kScenarios[] = {
    {"ops", run_ops},
    {"start", run_start},
    {"idle", run_idle},
    {"keys", run_keys, false},
    {"barrier", run_barrier},
    {"exchange", run_exchange},
    {"ids", run_ids},
    {"multi_set", run_multi_set, false},
    {"rendezvous", run_rendezvous},
    {"keepalive", run_keepalive},
};

const Scenario& scenario_of(const std::string& name) {
  std::string names;
  for (const Scenario& scenario : kScenarios) {
    if (name == scenario.name) return scenario;
    names += (names.empty() ? "" : ", ") + std::string(scenario.name);
  }
  throw Error(ErrorCode::kInvalidArgument,
              "unknown scenario '" + name + "'; the scenarios are " + names);
}

int run(int argc, char** argv) {
  bool wants_help = false;
  Report report;
  try {
    Options options = parse_options(argc, argv, wants_help);
    if (wants_help) return 0;
    report.add("scenario", options.scenario);
    report.add("protocol", std::string(name_of(options.wire)));
    const Scenario& scenario = scenario_of(options.scenario);
    play(options, scenario.can_share, scenario.run, report);
  } catch (const Error& error) {
    std::fprintf(stderr, "load_driver: %s\n", error.what());
    return error.code() == ErrorCode::kInvalidArgument ? kWrongArguments : kFailed;
  }
  std::printf("%s\n", report.json().c_str());
  return report.failed() ? kFailed : 0;
}

}  // namespace
}  // namespace rdzv::tools

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  return rdzv::tools::run(argc, argv);
}
