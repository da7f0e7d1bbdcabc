// What the load driver is asked to do: its command line, with --help and clear errors. Knows no
// socket and no protocol's bytes.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace rdzv::tools {

enum class Wire : uint8_t { kC10d, kNative, kResp, kMemcached };

struct Options {
  std::string scenario;
  std::string host = "127.0.0.1";
  uint16_t port = 0;
  Wire wire = Wire::kC10d;
  std::string operation = "get";
  size_t connections = 50;
  size_t processes = 0;  // 0: as many as the limit of open files makes necessary
  size_t in_flight = 1;
  size_t value_bytes = 64;
  size_t keys = 1000;
  double seconds = 3;
  uint64_t count = 0;  // operations; 0: as many as `seconds` allow
  double timeout_s = 120;
  size_t dials_at_once = 512;
  pid_t server_pid = 0;  // 0: the server's CPU time and memory are not reported
  size_t piece_bytes = 1440;
  double interval_s = 5;
  bool connections_first = false;
  size_t topology_keys = 0;  // 0: ranks by address
  size_t lose = 0;
  std::string token_file;  // empty: plain bytes
};

const char* name_of(Wire wire);

// Throws Error{kInvalidArgument} that names the argument. On --help prints it, and `wants_help` is
// true.
Options parse_options(int argc, const char* const* argv, bool& wants_help);

}  // namespace rdzv::tools
