// Listening sockets for a host name: one a local address of it, all on the same port.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "net/address.h"
#include "net/unix_socket.h"

namespace rdzv {

struct Listener {
  UniqueFd fd;
  SocketAddress address;
  SocketFile file{};  // of a Unix socket
};

// Listens at the path of a Unix socket (net/unix_socket.h); else binds every address of `host` that belongs to this machine, and nothing else; "::" also takes
// IPv4, and is 0.0.0.0 where there is no IPv6. Port 0 picks a free one. Of several addresses, those
// that cannot be bound are left out, with a log line; but where the port of one is taken it is
// taken of all, because a client of that name might reach either. Throws kAddressInUse (names the
// port and, with `name_holder` and where it can, its holder, whom it looks for among all processes),
// kInvalidArgument, kConnection.
std::vector<Listener> listen_on(const std::string& host, uint16_t port, bool name_holder = true);

// A TCP socket that somebody else has bound, and perhaps made listen: it listens from now on. One
// that is no such socket is left open for who has it, and kInvalidArgument thrown.
std::vector<Listener> adopt_listener(UniqueFd fd);

}  // namespace rdzv
