// Where a process has its token and certificates from: what its caller gave, the environment, the
// user's configuration. The only place that knows the names. Knows Python.
//
// The first of these that says anything counts, as a whole:
//   arguments     token, tls_cert, tls_key, tls_ca
//   environment   RENDEZVOUS_TOKEN_FILE, RENDEZVOUS_TOKEN, RENDEZVOUS_TOKEN_FD, RENDEZVOUS_TLS_CERT,
//                 RENDEZVOUS_TLS_KEY, RENDEZVOUS_TLS_CA
//   the file that `rendezvous token --save` writes
// The name of the server (tls_name, RENDEZVOUS_TLS_NAME) goes with any of them, and so does the name
// space that the client asks for (space, RENDEZVOUS_SPACE).
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <optional>
#include <string>

#include "server/security.h"
#include "tls/keeper.h"

namespace rdzv {

// As given to a function of Python's; each may be None.
struct GivenCredentials {
  // A str or bytes is the token itself, and an empty one none; a path names a file; a callable
  // returns one of them.
  pybind11::object token = pybind11::none();
  // Paths.
  pybind11::object tls_cert = pybind11::none();
  pybind11::object tls_key = pybind11::none();
  pybind11::object tls_ca = pybind11::none();
  pybind11::object tls_name = pybind11::none();
  pybind11::object space = pybind11::none();

  bool says_something() const;
};

struct Credentials {
  std::string token;  // one or more, as in a file
  std::string token_path;
  std::string certificate_path;
  std::string key_path;
  std::string authorities_path;
  std::string server_name;
  std::string space;  // that a client asks for; empty: that of its token

  bool has_token() const { return !token.empty() || !token_path.empty(); }
  // Of one side; what is left of it is no good, and keepers say so.
  bool is_any() const;
};

// Throws kInvalidArgument for a descriptor that cannot be read.
Credentials find_credentials(const GivenCredentials& given);
// The file that `rendezvous token --save` writes.
std::string saved_token_path();

// Both follow their files; none: there are no credentials. Throw what Keeper does.
std::shared_ptr<tls::Keeper> keep_for_server(const Credentials& credentials);
// `demands_tls`: by the system's authorities, if nothing else is known. `of_own_server`: its
// certificate is this process's, whatever stands in it.
std::shared_ptr<tls::Keeper> keep_for_client(const Credentials& credentials,
                                             bool demands_tls = false, bool of_own_server = false);

// What a host has said: insecure=True, or RENDEZVOUS_INSECURE=1.
bool is_insecure(bool given);

}  // namespace rdzv
