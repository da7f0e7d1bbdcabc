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
inline constexpr size_t kHandshakeBytesMax = 128 * 1024;
// Answers to what the peer asked of TLS itself, which it does not read.
inline constexpr size_t kOwnBytesMax = 64 * 1024;
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

  // Made by Credentials.
  struct Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  State state() const;
  bool is_open() const { return state() == State::kOpen; }
  // Once open.
  const Identity& peer() const;
  // Of kFailed: a sentence, without whose connection it was.
  const std::string& failure() const;

  // The peer has sent this. Appends what it says to `plain`.
  void receive(Bytes received, std::string& plain);
  // Says this to the peer; of an open one.
  void send(Bytes plain);
  // Nothing more will be said.
  void end();

  // The next bytes for the peer, and how many of them have left.
  Bytes to_send() const;
  void on_sent(size_t count);

 private:
  std::unique_ptr<Impl> impl_;
};

// For a peer that begins with TLS where none is spoken: an alert that says so to a TLS client.
Bytes no_tls_alert();

}  // namespace rdzv::tls
