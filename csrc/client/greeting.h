// The first words on a fresh connection, in either protocol. They find out whether the peer is a
// store at all, within the caller's deadline. Runs on the thread that connects.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/clock.h"
#include "client/core.h"
#include "tls/keeper.h"
#include "tls/session.h"

namespace rdzv {

// Whether who waits for a connection has no use for it any more.
using Cancelled = std::function<bool()>;

[[noreturn]] void throw_silent(const std::string& endpoint, Duration waited);
[[noreturn]] void throw_no_store(const std::string& endpoint, const std::string& seen);

// The socket of a connection that is being greeted, as sends and receives that keep the deadline.
// They return false or none
// when the peer has closed the connection, and throw kNoAnswer or kProtocol.
class Greeting {
 public:
  Greeting(int fd, const std::string& endpoint, const Deadline& deadline,
           const Cancelled& cancelled)
      : fd_(fd), endpoint_(endpoint), deadline_(deadline), cancelled_(cancelled) {}

  // Everything goes by TLS from now on. False: the peer closed the connection in the middle. Throws
  // kRefused: one side does not take the other; kLimit: the server is full.
  bool secure(std::unique_ptr<tls::Session> session);
  // For who goes on with the connection.
  std::unique_ptr<tls::Session> take_session() { return std::move(session_); }

  int fd() const { return fd_; }
  const std::string& endpoint() const { return endpoint_; }

  bool send(Bytes out);
  // What has come, if anything; a view until the next call.
  std::optional<Bytes> receive();

 private:
  bool send_raw();
  std::optional<Bytes> receive_raw();
  void wait(bool read);
  [[noreturn]] void throw_refused();

  int fd_;
  const std::string& endpoint_;
  const Deadline& deadline_;
  const Cancelled& cancelled_;
  char buffer_[4096];
  std::unique_ptr<tls::Session> session_;
  std::string plain_;
  std::string begin_;  // the first bytes that came
};

// Who this client is, for the server's log.
std::string client_text();

// TLS with what the keeper has; nothing without one. False: as Greeting::secure.
bool secure(Greeting& greeting, const tls::Keeper* keeper, const std::string& host);
// The name space that its HELLO names.
inline Bytes asked_space(const tls::Keeper* keeper) {
  return keeper == nullptr ? Bytes() : Bytes(keeper->space());
}

// Both: false when the peer closed the connection without an answer. Throw what the server says it
// refuses them for; kLimit: it is full. `heard`: all that the server has said is added to it.
bool greet_native(Greeting& greeting, ClientCore& core, std::string* heard = nullptr);
bool greet_c10d(Greeting& greeting);

}  // namespace rdzv
