#include "net/listen.h"

#include <fcntl.h>
#include <netinet/in.h>

#include <cerrno>

#include "base/error.h"
#include "base/log.h"
#include "net/port_holder.h"
#include "net/socket.h"

namespace rdzv {
namespace {

constexpr Duration kResolveTimeout = std::chrono::seconds(30);
constexpr int kBacklog = 65535;  // the kernel cuts it to net.core.somaxconn
constexpr int kPortAttempts = 32;

// 0, or the errno of what failed.
int bind_one(const SocketAddress& wanted, bool dual_stack, Listener& listener) {
  int error = 0;
  UniqueFd fd = try_open_socket(wanted.family(), error);
  if (!fd) return error;
  int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (wanted.family() == AF_INET6) {
    int v6_only = dual_stack ? 0 : 1;
    if (::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only)) != 0)
      return errno;
  }
  if (::bind(fd.get(), wanted.get(), wanted.length()) != 0) return errno;
  if (::listen(fd.get(), kBacklog) != 0) return errno;
  listener.address = SocketAddress::local_of(fd.get());
  if (listener.address.family() != wanted.family()) return errno;
  listener.fd = std::move(fd);
  return 0;
}

// The address is another machine's, or its family is switched off here.
bool is_not_ours(int error) {
  return error == EADDRNOTAVAIL || error == EAFNOSUPPORT;
}

struct LeftOut {
  SocketAddress address;
  int error;
};

std::string reasons(const std::vector<LeftOut>& left_out) {
  std::string text;
  for (const LeftOut& each : left_out)
    text += (text.empty() ? "" : "; ") + each.address.host() + ": " + refusal_text(each.error);
  return text;
}

void log_left_out(const std::string& host, uint16_t port, const std::vector<LeftOut>& left_out) {
  for (const LeftOut& each : left_out) {
    log(is_not_ours(each.error) ? LogLevel::kInfo : LogLevel::kWarning,
        "server " + format_endpoint(host, port) + ": not listening on " + each.address.host() +
            ", one of this name's addresses: " + refusal_text(each.error));
  }
}

[[noreturn]] void throw_in_use(const std::string& host, uint16_t port, bool name_holder) {
  const std::string where = "cannot listen on " + format_endpoint(host, port);
  if (!name_holder) throw Error(ErrorCode::kAddressInUse, where + ": the port is in use");
  std::string holder = find_port_holder(port);
  throw Error(
      ErrorCode::kAddressInUse,
      where + ": the port is in use by " +
          (holder.empty()
               ? "a process that cannot be seen from here (another user's or another container's)"
               : holder) +
          "; stop it, choose another port, or use port 0 to pick a free one");
}

}  // namespace

std::vector<Listener> adopt_listener(UniqueFd fd) {
  int type = 0;
  int is_listening = 0;
  socklen_t size = sizeof(type);
  auto refuse = [&](const std::string& why) {
    int number = fd.release();
    throw Error(ErrorCode::kInvalidArgument,
                "cannot listen on descriptor " + std::to_string(number) + ": " + why +
                    "; pass the descriptor of a TCP socket that is bound to a port");
  };
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0) refuse(errno_text(errno));
  if (type != SOCK_STREAM) refuse("it is not a stream socket");
  Listener listener;
  listener.address = SocketAddress::local_of(fd.get());
  if (listener.address.family() != AF_INET && listener.address.family() != AF_INET6)
    refuse("it is not a TCP socket");
  if (listener.address.port() == 0) refuse("it is not bound to a port");
  size = sizeof(is_listening);
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size);
  if (is_listening == 0 && ::listen(fd.get(), kBacklog) != 0) refuse(errno_text(errno));
  // So that the next server can have the port although connections of this one linger.
  int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC);
  int flags = ::fcntl(fd.get(), F_GETFL);
  // A listener that blocks would stop the server.
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0) refuse(errno_text(errno));
  listener.fd = std::move(fd);
  std::vector<Listener> listeners;
  listeners.push_back(std::move(listener));
  return listeners;
}

std::vector<Listener> listen_on(const std::string& host, uint16_t port, bool name_holder) {
  if (is_unix_host(host)) {
    std::vector<Listener> listeners(1);
    listeners.front().fd = listen_on_unix(host, listeners.front().file);
    listeners.front().address = SocketAddress::local_of(listeners.front().fd.get());
    return listeners;
  }
  std::vector<SocketAddress> addresses = resolve(host, port, Deadline::after(kResolveTimeout));
  const bool dual_stack = addresses.size() == 1 && addresses[0].host() == "::";
  std::vector<LeftOut> left_out;
  for (int attempt = 0; attempt < kPortAttempts; ++attempt) {
    std::vector<Listener> listeners;
    left_out.clear();
    bool in_use = false;
    for (SocketAddress address : addresses) {
      if (!listeners.empty()) address.set_port(listeners.front().address.port());
      Listener listener;
      int error = bind_one(address, dual_stack, listener);
      in_use = error == EADDRINUSE;
      if (in_use) break;
      if (error == 0) {
        listeners.push_back(std::move(listener));
      } else {
        left_out.push_back({address, error});
      }
    }
    if (in_use && port != 0) throw_in_use(host, port, name_holder);
    if (in_use) continue;
    if (!listeners.empty()) {
      log_left_out(host, listeners.front().address.port(), left_out);
      return listeners;
    }
    if (dual_stack && is_not_ours(left_out.front().error))
      return listen_on("0.0.0.0", port, name_holder);
    break;
  }
  throw Error(
      ErrorCode::kConnection,
      "cannot listen on " + format_endpoint(host, port) + ": " +
          (left_out.empty() ? "no port is free on all of its addresses" : reasons(left_out)) +
          "; name an address of this machine (0.0.0.0 or :: for all of them)");
}

}  // namespace rdzv
