// TLS between a socket and the core: bytes of the socket in, plain bytes out, and the reverse. What
// the core counts as sent has left encrypted, so its bounds hold as for a plain socket. Runs on the
// loop thread.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/memory_account.h"
#include "tls/session.h"

namespace rdzv {

class SecureLine {
 public:
  // What the session takes is charged to `sessions`.
  SecureLine(std::unique_ptr<tls::Session> session, MemoryAccount& sessions)
      : session_(std::move(session)), charge_(&sessions, tls::kSessionBytes) {}

  tls::Session::State state() const { return session_->state(); }
  const std::string& failure() const { return session_->failure(); }

  // What the peer says is appended to `plain`.
  void receive(Bytes received, std::string& plain) {
    session_->receive(received, plain);
    has_opened_ = has_opened_ || session_->is_open();
  }
  // Null: it has proved nothing yet.
  const tls::Identity* peer() const { return has_opened_ ? &session_->peer() : nullptr; }
  // As Transport::send. `joined`: for small pieces, which share a record; empty at either end.
  std::optional<size_t> send(int fd, std::span<const Bytes> pieces, std::string& joined);
  // Bytes of TLS itself, or a record that has left in part: they go before anything else.
  bool has_unsent() const { return !session_->to_send().empty(); }
  // False: the peer is gone.
  bool flush(int fd);
  // Says that no more comes, as far as the socket takes it.
  void end(int fd);

 private:
  std::unique_ptr<tls::Session> session_;
  // Of what the core has to send, so much is encrypted, and has not left.
  size_t ahead_ = 0;
  bool has_opened_ = false;
  Charge charge_;
};

}  // namespace rdzv
