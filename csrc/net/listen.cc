#include "net/listen.h"

#include <netinet/in.h>

#include <cerrno>

#include "base/error.h"
#include "net/port_holder.h"
#include "net/socket.h"

namespace rdzv {
namespace {

constexpr Duration kResolveTimeout = std::chrono::seconds(30);
constexpr int kBacklog = 65535;  // the kernel cuts it to net.core.somaxconn
constexpr int kPortAttempts = 32;

// 0, or the errno of what failed.
int bind_one(const SocketAddress& wanted, bool dual_stack, Listener& listener) {
  UniqueFd fd;
  try {
    fd = open_socket(wanted.family());
  } catch (const Error&) {
    return errno;
  }
  int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (wanted.family() == AF_INET6) {
    int v6_only = dual_stack ? 0 : 1;
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only));
  }
  if (::bind(fd.get(), wanted.get(), wanted.length()) != 0) return errno;
  if (::listen(fd.get(), kBacklog) != 0) return errno;
  listener.address = SocketAddress::local_of(fd.get());
  listener.fd = std::move(fd);
  return 0;
}

bool is_not_ours(int error) {
  return error == EADDRNOTAVAIL || error == EAFNOSUPPORT;
}

[[noreturn]] void throw_in_use(const std::string& host, uint16_t port) {
  std::string holder = find_port_holder(port);
  throw Error(ErrorCode::kAddressInUse,
              "cannot listen on " + format_endpoint(host, port) + ": the port is in use by " +
                  (holder.empty()
                       ? "a process that cannot be named from here (another user's or container's)"
                       : holder) +
                  "; stop it, choose another port, or use port 0 to have a free one picked");
}

}  // namespace

std::vector<Listener> listen_on(const std::string& host, uint16_t port) {
  std::vector<SocketAddress> addresses = resolve(host, port, Deadline::after(kResolveTimeout));
  bool dual_stack = addresses.size() == 1 && addresses[0].host() == "::";
  int error = 0;
  for (int attempt = 0; attempt < kPortAttempts; ++attempt) {
    std::vector<Listener> listeners;
    bool in_use = false;
    for (SocketAddress address : addresses) {
      if (!listeners.empty()) address.set_port(listeners.front().address.port());
      Listener listener;
      int result = bind_one(address, dual_stack, listener);
      if (result == 0) {
        listeners.push_back(std::move(listener));
      } else {
        error = result;
        in_use = in_use || result == EADDRINUSE;
        if (!is_not_ours(result)) break;
      }
    }
    if (!listeners.empty() && (error == 0 || is_not_ours(error))) return listeners;
    if (in_use && port != 0) throw_in_use(host, port);
    if (!in_use) break;
    error = 0;
  }
  throw Error(ErrorCode::kConnection,
              "cannot listen on " + format_endpoint(host, port) + ": " + errno_text(error) +
                  "; name an address of this machine (0.0.0.0 or :: for all of them)");
}

}  // namespace rdzv
