// Why a node gave up for good, as others are told it. Plain data, and its text.
#pragma once

#include <cstdint>
#include <string>

#include "group/node.h"

namespace rdzv {

struct Ending {
  int32_t exit_code = 0;
  uint64_t unix_ms = 0;  // by the node's own clock: to be shown, never to be compared
  std::string
      last_line;  // that its work wrote, of whatever bytes; cut to limits::kLastLineBytesMax
};

struct RootCause {
  NodeId node;
  Ending ending;
};

// "node h (pid 7) gave up at 2026-11-29 09:00:00 UTC: exit code 1, its last line: 'no such file'"
std::string to_text(const RootCause& cause);

}  // namespace rdzv
