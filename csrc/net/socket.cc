#include "net/socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <thread>

#include "base/error.h"
#include "base/interrupt.h"
#include "net/poller.h"

namespace rdzv {
namespace {

#if !defined(__linux__)
void prepare(int fd) {
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
#if defined(SO_NOSIGPIPE)
  int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on));
#endif
}
#endif

}  // namespace

UniqueFd try_open_socket(int family, int& error) {
#if defined(__linux__)
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
#else
  UniqueFd fd(::socket(family, SOCK_STREAM, 0));
  if (fd) prepare(fd.get());
#endif
  if (!fd) error = errno;
  return fd;
}

UniqueFd open_socket(int family) {
  int error = 0;
  UniqueFd fd = try_open_socket(family, error);
  if (!fd) throw Error(ErrorCode::kConnection, "cannot open a socket: " + refusal_text(error));
  return fd;
}

// Linux passes these options on to what is accepted, which saves five system calls a connection.
void prepare_listener([[maybe_unused]] int listener) {
#if defined(__linux__)
  set_no_delay(listener);
  set_keep_alive(listener);
  set_user_timeout(listener);
  // Of both protocols the client speaks first: whoever is accepted has sent something, which is
  // read at once. One that says nothing comes in after this second.
  int wait_s = 1;
  ::setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &wait_s, sizeof(wait_s));
#endif
}

UniqueFd accept_from(int listener, SocketAddress& peer) {
  for (;;) {
    sockaddr_storage storage;
    socklen_t size = sizeof(storage);
    auto* address = reinterpret_cast<sockaddr*>(&storage);
#if defined(__linux__)
    UniqueFd fd(::accept4(listener, address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
#else
    UniqueFd fd(::accept(listener, address, &size));
    if (fd) {
      prepare(fd.get());
      set_no_delay(fd.get());
      set_keep_alive(fd.get());
      set_user_timeout(fd.get());
    }
#endif
    if (fd) peer = SocketAddress(address, size);
    if (fd || errno != EINTR) return fd;
  }
}

void set_no_delay(int fd) {
  int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void set_keep_alive(int fd) {
  int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
#if defined(__linux__)
  int idle_s = 60;
  int interval_s = 10;
  int probes = 6;
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
#endif
}

void set_user_timeout([[maybe_unused]] int fd, [[maybe_unused]] Duration timeout) {
#if defined(TCP_USER_TIMEOUT)
  auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count();
  auto value = static_cast<unsigned>(std::clamp<long long>(ms, 1, INT_MAX));
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, sizeof(value));
#endif
}

bool set_receive_low_water(int fd, size_t bytes) {
  int value = static_cast<int>(std::min<size_t>(bytes, INT_MAX));
  return ::setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof(value)) == 0;
}

void allow_slices(int fd, Duration slice) {
  auto us = std::chrono::duration_cast<std::chrono::microseconds>(slice).count();
  timeval timeout{};
  timeout.tv_sec = static_cast<decltype(timeout.tv_sec)>(us / 1'000'000);
  timeout.tv_usec = static_cast<decltype(timeout.tv_usec)>(us % 1'000'000);
  int flags = ::fcntl(fd, F_GETFL);
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) != 0 || flags < 0 ||
      ::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0) {
    throw Error(ErrorCode::kConnection, "cannot set up a connection: " + refusal_text(errno));
  }
}

Ready wait_ready(int fd, bool read, bool write, Duration timeout) {
  pollfd entry{};
  entry.fd = fd;
  entry.events = static_cast<short>((read ? POLLIN : 0) | (write ? POLLOUT : 0));
  int count = ::poll(&entry, 1, poll_timeout_ms(timeout));
  // Callers wait again; for want of memory that would be at once.
  if (count < 0 && errno != EINTR)
    std::this_thread::sleep_for(std::min<Duration>(timeout, std::chrono::milliseconds(10)));
  if (count <= 0) return {};
  bool broken = (entry.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
  return {read && ((entry.revents & POLLIN) || broken),
          write && ((entry.revents & POLLOUT) || broken)};
}

UniqueFd connect_to(const SocketAddress& address, Duration timeout, int& error) {
  Deadline deadline = Deadline::after(timeout);
  UniqueFd fd = open_socket(address.family());
  if (::connect(fd.get(), address.get(), address.length()) != 0) {
    if (errno != EINPROGRESS && errno != EINTR) {
      error = errno;
      return UniqueFd();
    }
    while (
        !wait_ready(fd.get(), false, true, std::min(deadline.left(), kInterruptSlice)).writable) {
      throw_if_interrupted();
      if (deadline.passed()) {
        error = ETIMEDOUT;
        return UniqueFd();
      }
    }
    socklen_t size = sizeof(error);
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    if (error != 0) return UniqueFd();
  }
  // Where nothing listens on a local port of the ephemeral range, the kernel may pick that very
  // port for our end, and the socket is connected to itself.
  if (SocketAddress::local_of(fd.get()).to_string() ==
      SocketAddress::peer_of(fd.get()).to_string()) {
    // Reset it: closed in peace it would keep the server from binding its port for a minute.
    linger reset{1, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    error = ECONNREFUSED;
    return UniqueFd();
  }
  error = 0;
  set_no_delay(fd.get());
  set_keep_alive(fd.get());
  return fd;
}

}  // namespace rdzv
