#include "tools/options.h"

#include <charconv>
#include <cstdio>
#include <cstring>
#include <functional>
#include <vector>

#include "base/error.h"

namespace rdzv::tools {
namespace {

constexpr const char* kUsage = R"(load_driver SCENARIO --port PORT [OPTION VALUE]...
Plays many ranks of a store's clients over real TCP connections, by one process or, where its
open files are not enough, by several, and prints one JSON object: times, percentiles, counts,
errors. Exit code: 0 all answered, 1 something failed or took too long, 2 wrong arguments.

scenarios:
  ops         a closed loop of one operation on every connection
  start       the start of a job: every rank connects, says hello, sets its own key, adds to a
              counter, waits for the last one, and gets one value
  idle        connect and say hello, then nothing: the server's memory a connection
  keys        set many keys: the server's memory a key
  barrier     connect; then all ranks pass one barrier
  exchange    connect; then every rank gives a value and gets those of all
  ids         every rank waits for the same keys and gets them all, as NCCL's ids
  multi_set   one multi_set of many keys, sent in small pieces
  rendezvous  every node connects, joins, and gets its answer when the round is complete; with
              --lose 1 then one connection breaks, another node takes its place, and all meet again
  keepalive   as rendezvous, then keep-alives for --seconds

options:
)";

struct Option {
  const char* name;
  const char* value;  // what it is called in the help
  const char* help;
  std::function<void(Options&, const std::string&)> set;
};

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorCode::kInvalidArgument, message + " (see load_driver --help)");
}

template <typename Number>
Number number_of(const std::string& name, const std::string& text, Number min, Number max) {
  Number number{};
  auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc() || end != text.data() + text.size() || number < min || number > max) {
    refuse(name + " takes a number from " + std::to_string(min) + " to " + std::to_string(max) +
           ", not '" + text + "'");
  }
  return number;
}

template <typename Number>
Option number(const char* name, const char* value, const char* help, Number Options::* field,
              Number min, Number max) {
  return {name, value, help, [=](Options& options, const std::string& text) {
            options.*field = number_of<Number>(name, text, min, max);
          }};
}

bool yes_or_no(const std::string& name, const std::string& text) {
  if (text == "yes") return true;
  if (text == "no") return false;
  refuse(name + " takes yes or no, not '" + text + "'");
}

Wire wire_of(const std::string& text) {
  for (Wire wire : {Wire::kC10d, Wire::kNative, Wire::kResp, Wire::kMemcached}) {
    if (text == name_of(wire)) return wire;
  }
  refuse("--protocol takes c10d, native, resp or memcached, not '" + text + "'");
}

std::vector<Option> all_options() {
  constexpr size_t kMany = 10'000'000;
  constexpr double kLong = 86'400;
  return {
      {"--host", "ADDRESS", "numeric IPv4 address (default 127.0.0.1)",
       [](Options& options, const std::string& text) { options.host = text; }},
      number<uint16_t>("--port", "PORT", "the server's port; required", &Options::port, 1, 65'535),
      {"--protocol", "NAME", "c10d (default), native, resp or memcached",
       [](Options& options, const std::string& text) { options.wire = wire_of(text); }},
      {"--operation", "NAME", "for ops: get (default), set, add, compare_set, check",
       [](Options& options, const std::string& text) { options.operation = text; }},
      number<size_t>("--connections", "N", "ranks, each with its connection (default 50)",
                     &Options::connections, 1, kMany),
      number<size_t>(
          "--processes", "N",
          "processes that play the ranks (default: as few as the limit of open files allows)",
          &Options::processes, 1, 255),
      number<size_t>("--in-flight", "N",
                     "for ops: requests in flight on each connection (default 1)",
                     &Options::in_flight, 1, 65'536),
      number<size_t>("--value", "BYTES", "size of values (default 64)", &Options::value_bytes, 0,
                     64 * 1024 * 1024),
      number<size_t>("--keys", "N", "number of keys (default 1000)", &Options::keys, 1, kMany),
      number<double>("--seconds", "S", "for ops and keepalive: duration (default 3)",
                     &Options::seconds, 0.001, kLong),
      number<uint64_t>("--count", "N", "for ops: stop after this many operations instead",
                       &Options::count, 1, UINT64_MAX),
      number<double>("--timeout", "S", "time limit (default 120)", &Options::timeout_s, 0.001,
                     kLong),
      number<size_t>("--dials", "N", "connection attempts at the same time (default 512)",
                     &Options::dials_at_once, 1, kMany),
      number<pid_t>("--server-pid", "PID", "report this process's CPU time and memory",
                    &Options::server_pid, 1, 1 << 30),
      number<size_t>("--piece", "BYTES", "for multi_set: bytes per send (default 1440)",
                     &Options::piece_bytes, 1, kMany),
      number<double>("--interval", "S", "for keepalive: time between two of a node (default 5)",
                     &Options::interval_s, 0.001, kLong),
      {"--connections-first", "YES|NO", "for rendezvous: all connect before the first joins",
       [](Options& options, const std::string& text) {
         options.connections_first = yes_or_no("--connections-first", text);
       }},
      number<size_t>("--topology", "N", "for rendezvous: ranks follow a key; the number of keys",
                     &Options::topology_keys, 0, kMany),
      number<size_t>("--lose", "N", "for rendezvous: break this many connections afterwards",
                     &Options::lose, 0, kMany),
      {"--token-file", "PATH", "speak TLS, with the first token of this file",
       [](Options& options, const std::string& text) { options.token_file = text; }},
  };
}

void print_help(const std::vector<Option>& options) {
  std::fputs(kUsage, stdout);
  for (const Option& option : options) {
    std::string left = std::string(option.name) + " " + option.value;
    std::printf("  %-26s %s\n", left.c_str(), option.help);
  }
}

}  // namespace

const char* name_of(Wire wire) {
  switch (wire) {
    case Wire::kC10d:
      return "c10d";
    case Wire::kNative:
      return "native";
    case Wire::kResp:
      return "resp";
    case Wire::kMemcached:
      return "memcached";
  }
  return "";
}

Options parse_options(int argc, const char* const* argv, bool& wants_help) {
  std::vector<Option> known = all_options();
  Options options;
  wants_help = false;
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    if (word == "--help" || word == "-h") {
      print_help(known);
      wants_help = true;
      return options;
    }
    if (word.rfind("--", 0) != 0) {
      if (!options.scenario.empty()) refuse("there is one scenario, and '" + word + "' is another");
      options.scenario = word;
      continue;
    }
    const Option* found = nullptr;
    for (const Option& option : known) {
      if (word == option.name) found = &option;
    }
    if (found == nullptr) refuse("unknown option " + word);
    if (++i == argc) refuse(word + " needs a value");
    found->set(options, argv[i]);
  }
  if (options.scenario.empty()) refuse("name a scenario");
  if (options.port == 0) refuse("--port is required");
  return options;
}

}  // namespace rdzv::tools
