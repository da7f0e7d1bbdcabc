// Names and addresses. Knows getaddrinfo and numeric forms; never looks up the name of a peer. Any
// thread.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"

namespace rdzv {

class SocketAddress {
 public:
  SocketAddress() = default;
  SocketAddress(const sockaddr* address, socklen_t length);

  // The addresses of this end and of the other end of a connected or bound socket.
  static SocketAddress local_of(int fd);
  static SocketAddress peer_of(int fd);

  int family() const { return address_.any.sa_family; }
  bool is_unix() const { return family() == AF_UNIX; }
  const sockaddr* get() const { return &address_.any; }
  socklen_t length() const { return length_; }
  uint16_t port() const;
  void set_port(uint16_t port);

  // Whether it leads every machine to itself.
  bool is_loopback() const;

  // Numeric, without brackets; an IPv4 peer of a dual-stack socket reads as IPv4, and one of a Unix
  // socket, which has no address, as localhost.
  std::string host() const;
  // Whose addresses are mostly one host's: an IPv4 address, or the first half of one of IPv6.
  std::string network() const;
  // "127.0.0.1:29400" or "[::1]:29400".
  std::string to_string() const;

 private:
  // Of other families, no more than this is kept: a server has one of these for each connection.
  union {
    sockaddr_in6 v6;
    sockaddr_in v4;
    sockaddr any;
  } address_{};
  socklen_t length_ = 0;
};

// What means a Unix socket stays as it is.
std::string format_endpoint(const std::string& host, uint16_t port);

// Every stream address of `host`, in the resolver's order; an IPv4 address that is written as IPv6
// (::ffff:127.0.0.2) is the IPv4 address. Numeric hosts cost nothing; names are
// looked up on a thread of their own, because a name server that hangs must not hold the caller
// past its deadline. Throws kInvalidArgument for a host that cannot be one, kConnection for a name
// without address and where a thread or a descriptor for the look-up is refused, kNoAnswer.
std::vector<SocketAddress> resolve(const std::string& host, uint16_t port,
                                   const Deadline& deadline);

}  // namespace rdzv
