// What one server lets its peers use: memory, connections, runs, and times for which it keeps
// something for them. Each can be set by its name (Server's argument in Python, --limit of the
// command); docs/limits.md says what happens beyond it. What follows from the format of requests is
// fixed, and stands in wire/limits.h, as do the defaults. Plain data: any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "wire/limits.h"

namespace rdzv {

struct ServerLimits {
  uint64_t connections = limits::kConnectionsMax;
  uint64_t connections_per_address = limits::kConnectionsMax;
  uint64_t requests_per_second_per_address = 0;  // 0: as many as they like
  uint64_t greeting_bytes = limits::kGreetingBytesMax;
  uint64_t greeting_ms = limits::kGreetingMsMax;
  uint64_t input_bytes = limits::kInputBytesMax;
  uint64_t parked_bytes_per_connection = limits::kParkedBytesPerConnectionMax;
  uint64_t parked_bytes = limits::kParkedBytesMax;
  uint64_t waits_per_connection = limits::kWaitsPerConnectionMax;
  uint64_t unread_bytes = limits::kUnsentBytesMax;
  uint64_t unsent_bytes_per_connection = limits::kUnsentBytesPerConnectionMax;
  uint64_t unsent_bytes = limits::kUnsentBytesOfAllMax;
  uint64_t stored_bytes = limits::kStoredBytesMax;
  uint64_t memory_bytes = limits::kMemoryBytesMax;
  uint64_t watch_bytes = limits::kWatchBytesMax;
  uint64_t keys = limits::kKeysMax;
  uint64_t value_bytes = limits::kValueBytesMax;
  uint64_t waits = limits::kWaitsMax;
  uint64_t keys_per_multi_set = limits::kKeysPerRequestMax;
  uint64_t ttl_ms = limits::kTtlMsMax;
  uint64_t runs = limits::kRunsMax;
  uint64_t runs_per_connection = limits::kRunsPerConnectionMax;
  uint64_t run_bytes = limits::kRunBytesMax;
  uint64_t nodes_per_connection = limits::kNodesPerConnectionMax;
  uint64_t idle_runs = limits::kIdleRunsMax;
  uint64_t idle_run_ms = limits::kIdleRunMsMax;
  uint64_t grace_ms = limits::kGraceMsMax;
  uint64_t keep_alive_window_ms = limits::kKeepAliveWindowMsMax;
  uint64_t last_call_ms = limits::kLastCallMsMax;
  // Of each name space.
  uint64_t spaces = limits::kSpacesMax;
  uint64_t connections_per_space = limits::kConnectionsMax;
  uint64_t keys_per_space = limits::kKeysMax;
  uint64_t stored_bytes_per_space = limits::kStoredBytesMax;
  uint64_t runs_per_space = limits::kRunsMax;
  uint64_t run_bytes_per_space = limits::kRunBytesMax;
  uint64_t waits_per_space = limits::kWaitsMax;
  uint64_t timeline_bytes = limits::kTimelineBytesMax;

  struct Field {
    const char* name;
    uint64_t ServerLimits::* value;
  };
  // All of them, in the order above.
  static std::span<const Field> fields();

  // Throws kInvalidArgument for an unknown name, and says which there are.
  void set(Bytes name, uint64_t value);
};

}  // namespace rdzv
