#include "bindings/credentials.h"

#include <sys/stat.h>

#include <cstdlib>
#include <utility>
#include <vector>

#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/credential_files.h"
#include "tls/credentials.h"

namespace py = pybind11;

namespace rdzv {
namespace {

std::string environment(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? std::string() : text;
}

std::string path_from(const py::object& given, const char* name) {
  if (given.is_none()) return {};
  if (py::isinstance<py::str>(given)) return py::cast<std::string>(given);
  if (py::hasattr(given, "__fspath__"))
    return py::cast<std::string>(py::str(given.attr("__fspath__")()));
  throw py::type_error(std::string(name) + " is the path of a file, a str or a Path, or None");
}

void take_token(Credentials& found, const py::object& given) {
  if (given.is_none()) return;
  if (py::isinstance<py::str>(given) || py::isinstance<py::bytes>(given)) {
    found.token = py::cast<std::string>(given);
  } else if (py::hasattr(given, "__fspath__")) {
    found.token_path = path_from(given, "token");
  } else if (PyCallable_Check(given.ptr()) != 0) {
    take_token(found, given());
  } else {
    throw py::type_error("token is a str, bytes, a path, a callable that returns one, or None");
  }
}

Credentials of_arguments(const GivenCredentials& given) {
  Credentials found;
  take_token(found, given.token);
  found.certificate_path = path_from(given.tls_cert, "tls_cert");
  found.key_path = path_from(given.tls_key, "tls_key");
  found.authorities_path = path_from(given.tls_ca, "tls_ca");
  return found;
}

Credentials of_environment() {
  Credentials found;
  found.token_path = environment("RENDEZVOUS_TOKEN_FILE");
  if (found.token_path.empty()) found.token = environment("RENDEZVOUS_TOKEN");
  if (!found.has_token()) {
    if (const std::string number = environment("RENDEZVOUS_TOKEN_FD"); !number.empty())
      found.token = read_token_descriptor(number);
  }
  found.certificate_path = environment("RENDEZVOUS_TLS_CERT");
  found.key_path = environment("RENDEZVOUS_TLS_KEY");
  found.authorities_path = environment("RENDEZVOUS_TLS_CA");
  return found;
}

Credentials of_configuration() {
  Credentials found;
  std::string path = saved_token_path();
  struct stat status{};
  if (!path.empty() && ::stat(path.c_str(), &status) == 0) found.token_path = std::move(path);
  return found;
}

std::shared_ptr<tls::Keeper> keep(tls::Keeper::Side side, const Credentials& credentials) {
  tls::Texts texts;
  texts.tokens = credentials.token;
  std::vector<CredentialFile> files;
  auto add = [&](const std::string& path, std::string tls::Texts::* text) {
    if (!path.empty()) files.push_back({path, text});
  };
  add(credentials.token_path, &tls::Texts::tokens);
  add(credentials.certificate_path, &tls::Texts::certificate);
  add(credentials.key_path, &tls::Texts::key);
  add(credentials.authorities_path, &tls::Texts::authorities);
  return keep_files(side, std::move(texts), std::move(files));
}

}  // namespace

bool GivenCredentials::says_something() const {
  return !token.is_none() || !tls_cert.is_none() || !tls_key.is_none() || !tls_ca.is_none();
}

bool Credentials::is_any() const {
  return has_token() || !certificate_path.empty() || !key_path.empty() || !authorities_path.empty();
}

std::string saved_token_path() {
  std::string folder = environment("XDG_CONFIG_HOME");
  if (folder.empty()) {
    folder = environment("HOME");
    if (folder.empty()) return {};
    folder += "/.config";
  }
  return folder + "/rendezvous/token";
}

Credentials find_credentials(const GivenCredentials& given) {
  Credentials found;
  if (given.says_something()) {
    found = of_arguments(given);
  } else {
    found = of_environment();
    if (!found.is_any()) found = of_configuration();
  }
  found.server_name = given.tls_name.is_none() ? environment("RENDEZVOUS_TLS_NAME")
                                               : py::cast<std::string>(given.tls_name);
  found.space =
      given.space.is_none() ? environment("RENDEZVOUS_SPACE") : py::cast<std::string>(given.space);
  return found;
}

std::shared_ptr<tls::Keeper> keep_for_server(const Credentials& credentials) {
  return credentials.is_any() ? keep(tls::Keeper::Side::kServer, credentials) : nullptr;
}

std::shared_ptr<tls::Keeper> keep_for_client(const Credentials& credentials, bool demands_tls,
                                             bool of_own_server) {
  if (!credentials.is_any() && !demands_tls) return nullptr;
  std::shared_ptr<tls::Keeper> keeper = keep(tls::Keeper::Side::kClient, credentials);
  const bool is_any_name = credentials.server_name.empty() && of_own_server;
  keeper->set_server_name(is_any_name ? tls::kAnyName : credentials.server_name);
  keeper->set_space(credentials.space);
  return keeper;
}

bool is_insecure(bool given) {
  return given || environment("RENDEZVOUS_INSECURE") == "1";
}

}  // namespace rdzv
