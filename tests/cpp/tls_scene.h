// Two ends of TLS in memory, and certificates that are made for a test.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tls/credentials.h"
#include "tls/session.h"
#include "tls/token.h"

namespace rdzv::test {

inline const std::string kSecret = "0123456789abcdef0123456789abcdef";
inline const std::string kOtherSecret = "fedcba9876543210fedcba9876543210";

inline tls::Material with_token(const std::string& text = kSecret) {
  tls::Material material;
  material.tokens = tls::parse_tokens(text);
  return material;
}

// Of a certificate that is valid from `from` to `until`, in seconds from now.
struct Named {
  std::string name;
  long from = -3600;
  long until = 3600;
};
// An authority of its own, and what it vouches for.
class Authority {
 public:
  Authority();
  ~Authority();
  std::string certificate() const;
  // Certificate and key, in PEM, for a DNS name or an address.
  std::pair<std::string, std::string> issue(const Named& named) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct TlsPair {
  TlsPair(const tls::Material& server_has, const tls::Material& client_has,
          const std::string& name = "server.test")
      : server(tls::Credentials::for_server(server_has)->begin()),
        client(tls::Credentials::for_client(client_has)->begin(name)) {}

  // Carries what either has for the other, in pieces of so many bytes, until there is nothing more.
  void talk(size_t piece = SIZE_MAX) {
    for (bool is_more = true; is_more;) {
      is_more = carry(*client, *server, server_heard, piece);
      is_more = carry(*server, *client, client_heard, piece) || is_more;
    }
  }
  static bool carry(tls::Session& from, tls::Session& to, std::string& heard, size_t piece) {
    // A copy: the other end may answer meanwhile.
    const std::string bytes(from.to_send());
    from.on_sent(bytes.size());
    for (size_t at = 0; at < bytes.size(); at += std::min(piece, bytes.size() - at))
      to.receive(Bytes(bytes).substr(at, piece), heard);
    return !bytes.empty();
  }
  bool is_open() const { return server->is_open() && client->is_open(); }

  std::unique_ptr<tls::Session> server;
  std::unique_ptr<tls::Session> client;
  std::string server_heard;
  std::string client_heard;
};

inline std::string noise(std::mt19937& random, size_t size) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

// What a client sends first.
inline std::string client_hello(const std::string& token = kSecret) {
  return std::string(tls::Credentials::for_client(with_token(token))->begin()->to_send());
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace rdzv::test
