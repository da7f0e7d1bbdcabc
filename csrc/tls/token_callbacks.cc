// Where OpenSSL asks for a token's key: a client, which one it offers; a server, whether it has the
// one that was offered.
#include <new>

#include "tls/parts.h"

namespace rdzv::tls {
namespace {

constexpr Bytes kOurs = "rendezvous1/";

// `digest`: of the cipher that was agreed upon, once there is one.
int offer(SSL* ssl, const EVP_MD* digest, const unsigned char** identity, size_t* identity_bytes,
          SSL_SESSION** session) {
  *session = nullptr;
  const Session::Impl& self = Session::Impl::of(ssl);
  if (digest != nullptr && EVP_MD_is_a(digest, "SHA256") != 1) return 1;
  const Key& key = self.side->keys.front();
  *session = key.session().release();
  *identity = reinterpret_cast<const unsigned char*>(key.identity().data());
  *identity_bytes = key.identity().size();
  return *session == nullptr ? 0 : 1;
}

int find(SSL* ssl, const unsigned char* identity, size_t identity_bytes, SSL_SESSION** session) {
  *session = nullptr;
  Session::Impl& self = Session::Impl::of(ssl);
  const Bytes offered(reinterpret_cast<const char*>(identity), identity_bytes);
  try {
    self.offered = offered.substr(0, 256);
  } catch (const std::bad_alloc&) {
    self.is_out_of_memory = true;
    return 0;
  }
  self.key = self.side->find(offered);
  if (self.key == nullptr) {
    // Who offers a token wants to be known by that. Anything else may be another server's ticket.
    return offered.starts_with(kOurs) || !self.side->has_certificate ? 0 : 1;
  }
  *session = self.key->session().release();
  return *session == nullptr ? 0 : 1;
}

}  // namespace

Session::Impl& Session::Impl::of(const SSL* ssl) {
  return *static_cast<Impl*>(SSL_get_app_data(ssl));
}

void use_tokens(SSL_CTX* context, bool is_server) {
  if (is_server) {
    SSL_CTX_set_psk_find_session_callback(context, find);
  } else {
    SSL_CTX_set_psk_use_session_callback(context, offer);
  }
}

}  // namespace rdzv::tls
