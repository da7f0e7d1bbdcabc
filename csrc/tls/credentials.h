// What one side proves itself with and what it asks of the other: tokens, certificates. It is handed
// bytes and never changes; who reads files makes another one when they change, and sessions that
// have begun keep theirs. Any thread may make sessions of it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tls/session.h"
#include "tls/token.h"

namespace rdzv::tls {

// In place of a server's name: its authorities' word is enough.
inline constexpr char kAnyName[] = "*";

// "OpenSSL 3.0.19 27 Jan 2026"; empty: this build has no TLS.
std::string library_version();

struct Material {
  std::vector<Token> tokens{};
  // PEM. `certificate` may go on with those between it and the authority.
  std::string certificate{};
  std::string key{};
  // Of a server: its clients have to show a certificate of one of these. Of a client: who may vouch
  // for the server; empty: whom the system trusts.
  std::string authorities{};
  // The key of a direction is renewed after so many bytes.
  uint64_t bytes_per_key = uint64_t{4} << 30;
};

class Credentials {
 public:
  // Both throw kInvalidArgument: what is wrong with the material; kUnsupported: this build has no
  // TLS.
  //
  // A server takes a token of its own, or a certificate that its authorities vouch for; with a
  // certificate of its own alone it takes anybody.
  static std::shared_ptr<const Credentials> for_server(const Material& material);
  // A client with a token proves itself by the first and takes only a server that has it. Without, a
  // server whose certificate is good.
  static std::shared_ptr<const Credentials> for_client(const Material& material);

  struct Impl;
  explicit Credentials(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

  // `server_name`: a client's, what the user typed, which the server's certificate has to name, or
  // kAnyName.
  std::unique_ptr<Session> begin(const std::string& server_name = {}) const;

  bool has_tokens() const;
  // Of the tokens, in their order: "default/member/0123456789abcdef".
  std::vector<std::string> key_names() const;
  // What their lines let the name spaces use.
  const Quotas& quotas() const;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace rdzv::tls
