// What a name space may use, as its lines in a token file say: keys=100000 bytes=4294967296 ... What
// no line says, the server's limits say. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "base/bytes.h"

namespace rdzv::tls {

struct Quota {
  std::optional<uint64_t> keys{};
  std::optional<uint64_t> bytes{};  // of keys, values and queues
  std::optional<uint64_t> connections{};
  std::optional<uint64_t> runs{};
  std::optional<uint64_t> run_bytes{};  // of runs and their nodes
  std::optional<uint64_t> waiters{};    // requests that wait

  struct Field {
    const char* name;
    std::optional<uint64_t> Quota::* value;
  };
  // All of them, in the order above.
  static std::span<const Field> fields();

  // Takes a setting such as "keys=100". Throws kInvalidArgument: what is wrong, and what is allowed;
  // of a long word, which may be a secret in the wrong place, it shows nothing.
  void take(Bytes setting);
};

using Quotas = std::map<std::string, Quota, std::less<>>;  // by name space

}  // namespace rdzv::tls
