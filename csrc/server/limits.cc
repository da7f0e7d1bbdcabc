#include "server/limits.h"

#include "base/error.h"
#include "base/text.h"

namespace rdzv {

std::span<const ServerLimits::Field> ServerLimits::fields() {
  static constexpr Field kFields[] = {
      {"connections", &ServerLimits::connections},
      {"connections_per_address", &ServerLimits::connections_per_address},
      {"requests_per_second_per_address", &ServerLimits::requests_per_second_per_address},
      {"greeting_bytes", &ServerLimits::greeting_bytes},
      {"greeting_ms", &ServerLimits::greeting_ms},
      {"input_bytes", &ServerLimits::input_bytes},
      {"parked_bytes_per_connection", &ServerLimits::parked_bytes_per_connection},
      {"parked_bytes", &ServerLimits::parked_bytes},
      {"waits_per_connection", &ServerLimits::waits_per_connection},
      {"unread_bytes", &ServerLimits::unread_bytes},
      {"unsent_bytes_per_connection", &ServerLimits::unsent_bytes_per_connection},
      {"unsent_bytes", &ServerLimits::unsent_bytes},
      {"stored_bytes", &ServerLimits::stored_bytes},
      {"memory_bytes", &ServerLimits::memory_bytes},
      {"watch_bytes", &ServerLimits::watch_bytes},
      {"keys", &ServerLimits::keys},
      {"value_bytes", &ServerLimits::value_bytes},
      {"waits", &ServerLimits::waits},
      {"keys_per_multi_set", &ServerLimits::keys_per_multi_set},
      {"ttl_ms", &ServerLimits::ttl_ms},
      {"runs", &ServerLimits::runs},
      {"runs_per_connection", &ServerLimits::runs_per_connection},
      {"run_bytes", &ServerLimits::run_bytes},
      {"nodes_per_connection", &ServerLimits::nodes_per_connection},
      {"idle_runs", &ServerLimits::idle_runs},
      {"idle_run_ms", &ServerLimits::idle_run_ms},
      {"grace_ms", &ServerLimits::grace_ms},
      {"keep_alive_window_ms", &ServerLimits::keep_alive_window_ms},
      {"last_call_ms", &ServerLimits::last_call_ms},
      {"spaces", &ServerLimits::spaces},
      {"connections_per_space", &ServerLimits::connections_per_space},
      {"keys_per_space", &ServerLimits::keys_per_space},
      {"stored_bytes_per_space", &ServerLimits::stored_bytes_per_space},
      {"runs_per_space", &ServerLimits::runs_per_space},
      {"run_bytes_per_space", &ServerLimits::run_bytes_per_space},
      {"waits_per_space", &ServerLimits::waits_per_space},
      {"timeline_bytes", &ServerLimits::timeline_bytes},
  };
  static_assert(sizeof(ServerLimits) == std::size(kFields) * sizeof(uint64_t));
  return kFields;
}

void ServerLimits::set(Bytes name, uint64_t value) {
  std::string names;
  for (const Field& field : fields()) {
    if (name == field.name) {
      // A time that is longer could not be added to another.
      if (name.ends_with("_ms") && value > limits::kTtlMsMax) {
        throw Error(ErrorCode::kInvalidArgument, "the limit " + std::string(name) + " of " +
                                                     std::to_string(value) +
                                                     " is longer than 30 years");
      }
      if (field.value == &ServerLimits::value_bytes && value > limits::kValueBytesMax) {
        throw Error(ErrorCode::kInvalidArgument, "the limit value_bytes of " +
                                                     std::to_string(value) +
                                                     " is above that of the protocol, " +
                                                     std::to_string(limits::kValueBytesMax));
      }
      this->*field.value = value;
      return;
    }
    names += (names.empty() ? "" : ", ") + std::string(field.name);
  }
  throw Error(ErrorCode::kInvalidArgument,
              "unknown limit " + quoted(name) + "; the server's limits are " + names);
}

}  // namespace rdzv
