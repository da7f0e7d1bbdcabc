// Gets a connection to a native server: names, addresses, retries, HELLO. One budget of time covers
// it all, so a client may start minutes before its server.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/fd.h"
#include "wire/native.h"

namespace rdzv {

struct Greeted {
  UniqueFd fd;
  native::Id128 instance;
  std::string observed_address;
};

// Tries every address of the name, again and again with jittered pauses, until the deadline. Throws
// kConnection (endpoint, addresses, attempts, last error, what to do), kProtocol for a peer that is
// no rendezvous store, kInvalidArgument. Another thread may set `cancelled`, which ends it like the
// deadline.
Greeted connect_and_greet(const std::string& host, uint16_t port, const native::Id128& session,
                          const Deadline& deadline, const std::atomic<bool>& cancelled);

}  // namespace rdzv
