// Gets a connection to a server: names, addresses, retries, a greeting. One budget of time covers
// it all, so a client may start minutes before its server. Knows no protocol: the greeting is the
// caller's. Runs on the thread that calls.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "base/clock.h"
#include "base/fd.h"
#include "client/greeting.h"

namespace rdzv {

// Greets the peer of a fresh connection. False: the peer closed it without an answer.
using Greet = std::function<bool(Greeting&)>;

// Tries every address of the name, again and again with jittered pauses, until the deadline. Throws
// kConnection (endpoint, addresses, attempts, last error, what to do), kProtocol for a peer that is
// no rendezvous store, kInvalidArgument. Another thread may set `cancelled`, which ends it like the
// deadline.
UniqueFd dial(const std::string& host, uint16_t port, const Deadline& deadline,
              const std::atomic<bool>& cancelled, const Greet& greet);

}  // namespace rdzv
