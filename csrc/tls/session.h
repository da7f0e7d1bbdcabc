// One end of a TLS 1.3 connection as a transform: what the peer sent goes in, plain bytes and bytes
// for the peer come out. It opens no socket, reads no file and never waits. One thread at a time.
//
//   kHandshake --both have proved who they are--> kOpen --the peer ends its stream--> kEnded
//        '-------- refused, garbage -------------> kFailed <-- an alert, garbage --'
//
// One that has failed keeps nothing but why, and the alert that is left to be sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "tls/token.h"

namespace rdzv::tls {

// Before the peer has proved who it is: how much of what it sent is looked at.
inline constexpr size_t kHandshakeBytesMax = 64 * 1024;
// Of that, its first message; and the certificates of a client, together.
inline constexpr size_t kHelloBytesMax = 16 * 1024;
inline constexpr size_t kCertificateBytesMax = 32 * 1024;
// Answers to what the peer asked of TLS itself, which it does not read.
inline constexpr size_t kOwnBytesMax = 64 * 1024;
// What an open session takes, about.
inline constexpr size_t kSessionBytes = 12 * 1024;
// The most that one record carries.
inline constexpr size_t kRecordBytesMax = 16 * 1024;

// The first byte of a TLS connection, in either direction: none of our protocols begins so.
inline constexpr char kHandshakeByte = 0x16;
inline constexpr char kAlertByte = 0x15;

// Whom the peer has proved to be.
struct Identity {
  bool by_token = false;
  std::string space{kDefaultSpace};
  Role role = Role::kMember;
  std::string key_id;       // of its token
  std::string certificate;  // the subject of its certificate, if it showed one
};

class Session {
 public:
  enum class State : uint8_t { kHandshake, kOpen, kEnded, kFailed };

  // Made by Credentials. Virtual, because one of our extensions may use what another made: OpenSSL is
  // called by that one alone.
  struct Impl;
  Session() = default;
  virtual ~Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  virtual State state() const = 0;
  bool is_open() const { return state() == State::kOpen; }
  // Once open.
  virtual const Identity& peer() const = 0;
  // Of kFailed: a sentence, without whose connection it was.
  virtual const std::string& failure() const = 0;
  // Likewise: whether the peer may take the same later.
  virtual bool may_pass() const = 0;

  // The peer has sent this. Appends what it says to `plain`.
  virtual void receive(Bytes received, std::string& plain) = 0;
  // Says this to the peer; of an open one.
  virtual void send(Bytes plain) = 0;
  // Nothing more will be said.
  virtual void end() = 0;

  // The next bytes for the peer, and how many of them have left.
  virtual Bytes to_send() const = 0;
  virtual void on_sent(size_t count) = 0;
};

// For a peer that begins with TLS where none is spoken: an alert that says so to a TLS client.
Bytes no_tls_alert();
// For one that there is no room for: of all that it could be told before it has said who it is, this
// is what a TLS client takes for something that passes.
Bytes full_alert();

}  // namespace rdzv::tls
