// In place of everything that speaks to OpenSSL, in a build without it.
#include "base/error.h"
#include "tls/credentials.h"

namespace rdzv::tls {
namespace {

[[noreturn]] void throw_absent() {
  throw Error(
      ErrorCode::kUnsupported,
      "this build of rendezvous has no TLS, which tokens and certificates need; install a "
      "wheel (`pip install rendezvous-store`), or build it where OpenSSL 3.0 or later and its "
      "headers are (libssl-dev, openssl-devel)");
}

}  // namespace

struct Credentials::Impl {};

std::string library_version() {
  return {};
}

Bytes no_tls_alert() {
  using namespace std::string_view_literals;
  return "\x15\x03\x03\x00\x02\x02\x0a"sv;
}

Bytes full_alert() {
  using namespace std::string_view_literals;
  return "\x15\x03\x03\x00\x02\x02\x50"sv;
}

std::shared_ptr<const Credentials> Credentials::for_server(const Material&) {
  throw_absent();
}

std::shared_ptr<const Credentials> Credentials::for_client(const Material&) {
  throw_absent();
}

std::unique_ptr<Session> Credentials::begin(const std::string&) const {
  throw_absent();
}

bool Credentials::has_tokens() const {
  return false;
}

const Quotas& Credentials::quotas() const {
  static const Quotas none;
  return none;
}

std::vector<std::string> Credentials::key_names() const {
  return {};
}

}  // namespace rdzv::tls
