// The bytes of a socket: sent, received, counted. See socket.h.
#if defined(__linux__)
#include <linux/sockios.h>
#endif
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "net/socket.h"

namespace rdzv {
namespace {

#if defined(MSG_NOSIGNAL)
constexpr int kSendFlags = MSG_NOSIGNAL | MSG_DONTWAIT;
#else
constexpr int kSendFlags = MSG_DONTWAIT;
#endif

bool would_block(int error) {
  return error == EAGAIN || error == EWOULDBLOCK;
}

// kBroken with EINTR at a signal.
long receive(int fd, char* buffer, size_t size, int flags) {
  ssize_t received = ::recv(fd, buffer, size, flags);
  if (received > 0) return static_cast<long>(received);
  if (received < 0 && would_block(errno)) return kWouldBlock;
  if (received == 0) errno = 0;
  return kBroken;
}

}  // namespace

long send_some(int fd, Bytes bytes) {
  for (;;) {
    ssize_t sent = ::send(fd, bytes.data(), bytes.size(), kSendFlags);
    if (sent >= 0) return static_cast<long>(sent);
    if (would_block(errno)) return kWouldBlock;
    if (errno != EINTR) return kBroken;
  }
}

long send_gathered(int fd, std::span<const Bytes> pieces) {
  std::array<iovec, 64> parts;
  size_t count = std::min(pieces.size(), parts.size());
  for (size_t i = 0; i < count; ++i)
    parts[i] = {const_cast<char*>(pieces[i].data()), pieces[i].size()};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(count);
  for (;;) {
    ssize_t sent = ::sendmsg(fd, &message, kSendFlags);
    if (sent >= 0) return static_cast<long>(sent);
    if (would_block(errno)) return kWouldBlock;
    if (errno != EINTR) return kBroken;
  }
}

long receive_some(int fd, char* buffer, size_t size) {
  for (;;) {
    long count = receive(fd, buffer, size, MSG_DONTWAIT);
    if (count != kBroken || errno != EINTR) return count;
  }
}

long receive_slice(int fd, char* buffer, size_t size) {
  long count = receive(fd, buffer, size, 0);
  return count == kBroken && errno == EINTR ? long{kWouldBlock} : count;
}

bool has_unread(int fd) {
  char byte;
  return ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

size_t untaken_bytes([[maybe_unused]] int fd) {
  int count = 0;
#if defined(__linux__)
  if (::ioctl(fd, SIOCOUTQ, &count) != 0) return 0;
#elif defined(SO_NWRITE)
  socklen_t size = sizeof(count);
  if (::getsockopt(fd, SOL_SOCKET, SO_NWRITE, &count, &size) != 0) return 0;
#endif
  return static_cast<size_t>(count);
}

}  // namespace rdzv
