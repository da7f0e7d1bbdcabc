// What carries the bytes of one connection: a socket, or whatever a test or a simulator makes of
// it. The core tells it what to send and when the connection is over; whoever owns it hands what
// the peer sends to the core.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "base/bytes.h"
#include "tls/session.h"

namespace rdzv {

class Transport {
 public:
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  // How many bytes of these pieces, which follow each other, it has taken; 0: none for now, and the
  // core is told when it takes more. Nothing: the peer is gone.
  virtual std::optional<size_t> send(std::span<const Bytes> pieces) = 0;
  // What the connection wants to read may be another than before.
  virtual void on_changed() = 0;
  // What it may have left unread, because the connection had had its turn, is welcome now.
  virtual void read_again() = 0;
  // The connection is closed, and calls it no more.
  virtual void close() = 0;

  // Whose connection it is, for messages: "127.0.0.1:40000", and the address alone.
  virtual std::string peer() const = 0;
  virtual std::string peer_host() const = 0;
  // Under which address the peer reached this machine; empty: it is on this machine itself.
  virtual std::string reached_at() const = 0;
  // Whom the peer has proved to be. Null: nobody.
  virtual const tls::Identity* identity() const { return nullptr; }
};

}  // namespace rdzv
