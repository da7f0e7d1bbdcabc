// What a session and its credentials are made of, for the .cc files of this folder.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tls/credentials.h"
#include "tls/key.h"
#include "tls/openssl.h"
#include "tls/session.h"

namespace rdzv::tls {

struct Credentials::Impl {
  ContextPointer context;
  std::vector<Key> keys;  // by the order of the tokens
  Quotas quotas;
  bool is_server = false;
  bool has_certificate = false;
  uint64_t bytes_per_key = 0;

  // The key that is meant; none: it is not one of these.
  const Key* find(Bytes identity) const;
};

struct Session::Impl final : Session {
  Impl(std::shared_ptr<const Credentials::Impl> side, const std::string& server_name);

  State state() const override { return state_; }
  const Identity& peer() const override { return identity; }
  const std::string& failure() const override { return why_failed; }
  bool may_pass() const override { return may_pass_; }
  void receive(Bytes received, std::string& plain) override;
  void send(Bytes plain) override;
  void end() override;
  Bytes to_send() const override;
  void on_sent(size_t count) override;

  // Goes on as far as `input` reaches.
  void go_on(std::string& plain);
  bool is_too_long(Bytes received);
  void write(Bytes plain);
  void fail(std::string why);
  void fail_as_told();  // by what OpenSSL says
  // OpenSSL's callbacks find it by this.
  static Impl& of(const SSL* ssl);

  std::shared_ptr<const Credentials::Impl> side;
  State state_ = State::kHandshake;
  SslPointer ssl;  // none once it has failed
  Bytes input;     // while the peer's bytes are looked at
  std::string out;
  size_t out_sent = 0;
  size_t own_bytes = 0;  // in it: what nobody asked us to say
  Identity identity;
  std::string why_failed;
  bool may_pass_ = false;
  bool is_out_of_memory = false;  // in a callback, from where nothing is thrown
  std::string server_name;
  std::string offered;       // a server's: the identity of a key that the peer offered
  const Key* key = nullptr;  // and the key, if it is one of ours
  size_t handshake_bytes = 0;
  std::string head;  // a server's: the first bytes that came
  uint64_t bytes_with_key = 0;
  bool has_said_hello = false;  // a server's: more than an alert left
};

// Puts the callbacks for tokens into a context.
void use_tokens(SSL_CTX* context, bool is_server);
// Makes a BIO that reads a session's input and appends to what it sends.
BioPointer make_bio(Session::Impl& session);
// Why a session fails, by what OpenSSL says of it, which it takes.
struct Failure {
  std::string why;
  bool may_pass = false;
};
Failure take_failure(const Session::Impl& session);

}  // namespace rdzv::tls
