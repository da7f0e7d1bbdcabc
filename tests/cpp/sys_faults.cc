#include "sys_faults.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>

namespace rdzv::test {
namespace {

std::atomic<int> wanted_call{-1};
std::atomic<uint64_t> wanted_k{0};
std::atomic<int> wanted_error{0};
std::atomic<bool> wanted_for_good{false};
std::atomic<bool> has_hit{false};
std::array<std::atomic<uint64_t>, kCalls> counts{};
std::atomic<uint64_t> total{0};
std::atomic<bool> only_marked{false};
thread_local bool is_marked = false;
thread_local int exempt = 0;

// 0, or the error with which this call shall fail.
int error_for(Call call) {
  if (exempt > 0 || (only_marked && !is_marked)) return 0;
  ++total;
  uint64_t nth = counts[static_cast<size_t>(call)]++;
  if (wanted_call != static_cast<int>(call)) return 0;
  if (nth != wanted_k && !(wanted_for_good && nth > wanted_k)) return 0;
  has_hit = true;
  return wanted_error;
}

}  // namespace

const char* name_of(Call call) {
  static constexpr const char* kNames[kCalls] = {
      "accept4", "bind",       "connect",     "epoll_create1",  "epoll_ctl",   "epoll_wait",
      "eventfd", "fcntl",      "getpeername", "getrandom",      "getsockname", "getsockopt",
      "listen",  "open",       "poll",        "read",           "recv",        "send",
      "sendmsg", "setsockopt", "socket",      "pthread_create", "write"};
  return kNames[static_cast<size_t>(call)];
}

std::vector<int> errors_of(Call call) {
  switch (call) {
    case Call::kAccept:
      return {EINTR,   ECONNABORTED, EPROTO, EMFILE, ENFILE,
              ENOBUFS, ENOMEM,       EPERM,  EACCES, ENETDOWN};
    case Call::kBind:
      return {EACCES, EADDRINUSE, EADDRNOTAVAIL, ENOMEM};
    case Call::kConnect:
      return {EINTR, EAGAIN, EADDRNOTAVAIL, ENETUNREACH, EACCES, EPERM, ECONNREFUSED, ETIMEDOUT};
    case Call::kEpollCreate:
    case Call::kEventFd:
      return {EMFILE, ENFILE, ENOMEM};
    case Call::kEpollCtl:
      return {ENOSPC, ENOMEM};
    case Call::kEpollWait:
      return {EINTR};
    case Call::kFcntl:
      return {EACCES, ENOLCK};
    case Call::kGetPeerName:
      return {ENOTCONN, ENOBUFS};
    case Call::kGetRandom:
      return {EINTR, ENOSYS};
    case Call::kGetSockName:
    case Call::kGetSockOpt:
      return {ENOBUFS};
    case Call::kListen:
      return {EADDRINUSE};
    case Call::kOpen:
      return {EMFILE, ENOENT, EACCES};
    case Call::kPoll:
      return {EINTR, ENOMEM};
    case Call::kRead:
      return {EINTR};
    case Call::kReceive:
      return {EINTR, ENOMEM, ENOBUFS, ECONNRESET, ETIMEDOUT};
    case Call::kSend:
    case Call::kSendMessage:
      return {EINTR, ENOBUFS, ENOMEM, EPIPE, ECONNRESET, EPERM};
    case Call::kSetSockOpt:
      return {ENOPROTOOPT, ENOMEM};
    case Call::kSocket:
      return {EMFILE, ENFILE, ENOBUFS, EACCES, EAFNOSUPPORT};
    case Call::kThread:
      return {EAGAIN};
    case Call::kWrite:
      return {EINTR};
  }
  return {};
}

void fail_call(Call call, uint64_t k, int error, bool for_good) {
  wanted_call = -1;
  for (auto& count : counts) count = 0;
  has_hit = false;
  wanted_k = k;
  wanted_error = error;
  wanted_for_good = for_good;
  wanted_call = static_cast<int>(call);
}

void hold_faults() {
  wanted_call = -1;
}

bool has_failed() {
  return has_hit;
}

uint64_t calls_of(Call call) {
  return counts[static_cast<size_t>(call)];
}

uint64_t all_calls() {
  return total;
}

OnlyHere::OnlyHere() {
  is_marked = only_marked = true;
}
OnlyHere::~OnlyHere() {
  is_marked = only_marked = false;
}

Exempt::Exempt() {
  ++exempt;
}
Exempt::~Exempt() {
  --exempt;
}

}  // namespace rdzv::test

// As libc's, with the fault before it.
#define RDZV_FAULTY(call, result, name, parameters, arguments)                      \
  extern "C" result name parameters {                                               \
    using Function = result(*) parameters;                                          \
    static const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, #name)); \
    if (int error = rdzv::test::error_for(rdzv::test::Call::call)) {                \
      errno = error;                                                                \
      return -1;                                                                    \
    }                                                                               \
    return real arguments;                                                          \
  }

RDZV_FAULTY(kAccept, int, accept4, (int fd, sockaddr* address, socklen_t* size, int flags),
            (fd, address, size, flags))
RDZV_FAULTY(kBind, int, bind, (int fd, const sockaddr* address, socklen_t size) noexcept,
            (fd, address, size))
RDZV_FAULTY(kConnect, int, connect, (int fd, const sockaddr* address, socklen_t size),
            (fd, address, size))
RDZV_FAULTY(kEpollCreate, int, epoll_create1, (int flags) noexcept, (flags))
RDZV_FAULTY(kEpollWait, int, epoll_wait, (int fd, epoll_event* events, int count, int timeout),
            (fd, events, count, timeout))
RDZV_FAULTY(kEventFd, int, eventfd, (unsigned count, int flags) noexcept, (count, flags))
RDZV_FAULTY(kGetPeerName, int, getpeername, (int fd, sockaddr* address, socklen_t* size) noexcept,
            (fd, address, size))
RDZV_FAULTY(kGetSockName, int, getsockname, (int fd, sockaddr* address, socklen_t* size) noexcept,
            (fd, address, size))
RDZV_FAULTY(kGetSockOpt, int, getsockopt,
            (int fd, int level, int name, void* value, socklen_t* size) noexcept,
            (fd, level, name, value, size))
RDZV_FAULTY(kListen, int, listen, (int fd, int backlog) noexcept, (fd, backlog))
RDZV_FAULTY(kPoll, int, poll, (pollfd * entries, nfds_t count, int timeout),
            (entries, count, timeout))
RDZV_FAULTY(kRead, ssize_t, read, (int fd, void* bytes, size_t size), (fd, bytes, size))
RDZV_FAULTY(kReceive, ssize_t, recv, (int fd, void* bytes, size_t size, int flags),
            (fd, bytes, size, flags))
RDZV_FAULTY(kSend, ssize_t, send, (int fd, const void* bytes, size_t size, int flags),
            (fd, bytes, size, flags))
RDZV_FAULTY(kSendMessage, ssize_t, sendmsg, (int fd, const msghdr* message, int flags),
            (fd, message, flags))
RDZV_FAULTY(kSetSockOpt, int, setsockopt,
            (int fd, int level, int name, const void* value, socklen_t size) noexcept,
            (fd, level, name, value, size))
RDZV_FAULTY(kSocket, int, socket, (int family, int type, int protocol) noexcept,
            (family, type, protocol))
RDZV_FAULTY(kWrite, ssize_t, write, (int fd, const void* bytes, size_t size), (fd, bytes, size))

extern "C" int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
  using Function = int (*)(int, int, int, epoll_event*);
  static const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "epoll_ctl"));
  if (operation != EPOLL_CTL_DEL) {
    if (int error = rdzv::test::error_for(rdzv::test::Call::kEpollCtl)) {
      errno = error;
      return -1;
    }
  }
  return real(epoll, operation, fd, event);
}

// getrandom is called by its number (base/random.cc); the C++ library's calls go through.
extern "C" long syscall(long number, ...) noexcept {
  using Function = long (*)(long, ...);
  static const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "syscall"));
  if (number == SYS_getrandom) {
    if (int error = rdzv::test::error_for(rdzv::test::Call::kGetRandom)) {
      errno = error;
      return -1;
    }
  }
  va_list rest;
  va_start(rest, number);
  std::array<long, 6> arguments;
  for (long& argument : arguments) argument = va_arg(rest, long);
  va_end(rest);
  const auto [a, b, c, d, e, f] = arguments;
  return real(number, a, b, c, d, e, f);
}

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*function)(void*), void* argument) noexcept {
  using Function = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "pthread_create"));
  if (int error = rdzv::test::error_for(rdzv::test::Call::kThread)) return error;
  return real(thread, attributes, function, argument);
}

namespace {

int real_open(const char* name, const char* path, int flags, mode_t mode) {
  using Function = int (*)(const char*, int, ...);
  const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
  if (int error = rdzv::test::error_for(rdzv::test::Call::kOpen)) {
    errno = error;
    return -1;
  }
  return real(path, flags, mode);
}

int real_fcntl(const char* name, int fd, int command, void* argument) {
  using Function = int (*)(int, int, ...);
  const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
  if (int error = rdzv::test::error_for(rdzv::test::Call::kFcntl)) {
    errno = error;
    return -1;
  }
  return real(fd, command, argument);
}

}  // namespace

extern "C" int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return real_open("open", path, flags, mode);
}

extern "C" int open64(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return real_open("open64", path, flags, mode);
}

// Its argument is a number or a pointer, which are handed on alike.
extern "C" int fcntl(int fd, int command, ...) {
  va_list rest;
  va_start(rest, command);
  void* argument = va_arg(rest, void*);
  va_end(rest);
  return real_fcntl("fcntl", fd, command, argument);
}

extern "C" int fcntl64(int fd, int command, ...) {
  va_list rest;
  va_start(rest, command);
  void* argument = va_arg(rest, void*);
  va_end(rest);
  return real_fcntl("fcntl64", fd, command, argument);
}
