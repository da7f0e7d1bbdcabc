// Sockets: the few system calls we need, with what differs between Linux and macOS kept here. Every
// descriptor is close-on-exec and, unless asked otherwise, non-blocking; SIGPIPE is never raised.
//
// What the system may refuse, and what is done then. An option that only makes things faster or
// ends them sooner (TCP_NODELAY, keep-alive, TCP_USER_TIMEOUT, SO_RCVLOWAT) may fail: the
// connection works without. EINTR is tried again, or is a look at the caller's signals. A failed
// read or write (ENOBUFS and ENOMEM as well) is a broken connection, whose owner closes it: a new
// one costs less than one that may have lost its place. A failed wait is a short sleep, so that
// nobody spins. Everything else is an Error, or an errno for the caller.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"
#include "net/address.h"

namespace rdzv {

// Throws kConnection when no socket can be had (too many open files).
UniqueFd open_socket(int family);
// The same; empty, with the errno in `error`, instead.
UniqueFd try_open_socket(int family, int& error);

// Sets on a listener what set_no_delay, set_keep_alive and set_user_timeout set, for all
// connections that it accepts; and lets the kernel keep those who have said nothing yet, for a
// second (Linux).
void prepare_listener(int listener);
// The next connection of a prepared listener and whose it is. Returns an empty descriptor and sets
// errno when there is nothing to accept.
UniqueFd accept_from(int listener, SocketAddress& peer);

void set_no_delay(int fd);
// The kernel notices a peer whose host died without a word after two minutes.
void set_keep_alive(int fd);
// The same where something sent is not acknowledged, or the peer reads nothing and its window stays
// shut: without it, keep-alive rests and the kernel tries again for a quarter of an hour.
inline constexpr Duration kUserTimeout = std::chrono::seconds(100);
void set_user_timeout(int fd, Duration timeout = kUserTimeout);

// One send or receive that never blocks. Results: bytes moved; kWouldBlock; kBroken with errno set
// (0: end of stream).
enum : long { kWouldBlock = -1, kBroken = -2 };
long send_some(int fd, Bytes bytes);
// The pieces one after the other, at most 64 of them.
long send_gathered(int fd, std::span<const Bytes> pieces);
long receive_some(int fd, char* buffer, size_t size);

// The socket counts as readable when so many bytes are there, or the end of the stream. The kernel
// may hold it to be less, never to be more. False: it stays as it is.
bool set_receive_low_water(int fd, size_t bytes);

// For a socket that one thread reads most of the time: makes receive_slice() sleep in the kernel
// for up to `slice`, which saves it the look whether there is something. send_some and receive_some
// never block all the same. Throws kConnection when the system does not let it: a read would spin,
// or not end.
void allow_slices(int fd, Duration slice);
// As receive_some, but waits; kWouldBlock when the slice is over, or at a signal.
long receive_slice(int fd, char* buffer, size_t size);

// How many bytes that were sent the peer's end has not taken yet; 0 where the system does not say.
size_t untaken_bytes(int fd);
// Whether bytes of the peer's lie there unread.
bool has_unread(int fd);

// Waits for a descriptor. Returns at once on a signal (neither readable nor writable), so that the
// caller can look.
struct Ready {
  bool readable = false;
  bool writable = false;
};
Ready wait_ready(int fd, bool read, bool write, Duration timeout);

// Connects within `timeout`. On failure returns an empty descriptor, and `error` is the errno
// (ETIMEDOUT when time ran out). Throws kInterrupted.
UniqueFd connect_to(const SocketAddress& address, Duration timeout, int& error);

}  // namespace rdzv
