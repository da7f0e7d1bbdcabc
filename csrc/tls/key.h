// The keys that a token stands for, by HKDF (SHA-256): the pre-shared key of TLS, and an id under a
// label of its own, which says which token is meant and nothing of its secret.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "tls/openssl.h"
#include "tls/token.h"

namespace rdzv::tls {

class Key {
 public:
  explicit Key(const Token& token);

  const std::string& space() const { return space_; }
  Role role() const { return role_; }
  const std::string& id() const { return id_; }
  // "default/member/0123456789abcdef"
  std::string name() const;
  // As it stands in a ClientHello: "rendezvous1/default/member/0123456789abcdef".
  const std::string& identity() const { return identity_; }
  bool is_identity(Bytes offered) const;
  // The key as the session that TLS takes it for; the caller's own.
  SessionPointer session() const;

 private:
  std::string space_;
  Role role_;
  std::string id_;
  std::string identity_;
  std::shared_ptr<SSL_SESSION> session_;  // wiped when it goes
};

// What an identity says, for messages: "name space 'a', role member, key 0123...". It may be
// anything.
std::string described_identity(Bytes offered);

}  // namespace rdzv::tls
