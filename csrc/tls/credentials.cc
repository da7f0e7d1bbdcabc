#include "tls/credentials.h"

#include <openssl/pem.h>

#include <utility>

#include "base/error.h"
#include "tls/parts.h"

namespace rdzv::tls {
namespace {

constexpr char kCiphers[] = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";
constexpr unsigned char kSessionContext[] = "rendezvous";

[[noreturn]] void throw_bad(const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, what);
}

BioPointer reader_of(const std::string& pem) {
  BioPointer bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (bio == nullptr) throw std::bad_alloc();
  return bio;
}

// A key with a passphrase is refused: nobody could type it.
int no_passphrase(char*, int, int, void*) {
  return 0;
}

CertificatePointer read_certificate(BIO* from) {
  return CertificatePointer(PEM_read_bio_X509(from, nullptr, no_passphrase, nullptr));
}

void use_certificate(SSL_CTX* context, const Material& material) {
  const BioPointer chain = reader_of(material.certificate);
  const CertificatePointer own = read_certificate(chain.get());
  if (own == nullptr) throw_bad("tls_cert holds no certificate in PEM: " + take_error_text());
  if (SSL_CTX_use_certificate(context, own.get()) != 1)
    throw_bad("the certificate of tls_cert cannot be used: " + take_error_text());
  while (CertificatePointer next = read_certificate(chain.get())) {
    if (SSL_CTX_add1_chain_cert(context, next.get()) != 1)
      throw_bad("a certificate of tls_cert cannot be used: " + take_error_text());
  }
  ERR_clear_error();
  const BioPointer key_text = reader_of(material.key);
  const PrivateKeyPointer key(
      PEM_read_bio_PrivateKey(key_text.get(), nullptr, no_passphrase, nullptr));
  if (key == nullptr)
    throw_bad("tls_key holds no private key in PEM without a passphrase: " + take_error_text());
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1)
    throw_bad("the key of tls_key is not that of the certificate of tls_cert: " +
              take_error_text());
}

void trust(SSL_CTX* context, const Material& material, bool is_server) {
  const BioPointer reader = reader_of(material.authorities);
  size_t count = 0;
  while (CertificatePointer next = read_certificate(reader.get())) {
    ++count;
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), next.get()) != 1 ||
        (is_server && SSL_CTX_add_client_CA(context, next.get()) != 1))
      throw_bad("a certificate of tls_ca cannot be used: " + take_error_text());
  }
  // A server's own certificate vouches for it as well as the authority that has signed it.
  if (!is_server)
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
  if (count == 0) throw_bad("tls_ca holds no certificate in PEM: " + take_error_text());
  ERR_clear_error();
}

// An OpenSSL that comes with us was told one place where systems have their authorities. Those that
// have none there have them in one of these files.
void trust_system(SSL_CTX* context) {
  SSL_CTX_set_default_verify_paths(context);
#ifdef RDZV_BUNDLED_TLS
  for (const char* file : {"/etc/pki/tls/cert.pem", "/etc/ssl/ca-bundle.pem"})
    X509_STORE_load_file(SSL_CTX_get_cert_store(context), file);
#endif
}

// Who has a certificate's key is good enough: so a host is known to itself, and nodes that share one
// certificate to each other.
void trust_own(SSL_CTX* context) {
  X509_STORE_add_cert(SSL_CTX_get_cert_store(context), SSL_CTX_get0_certificate(context));
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
  ERR_clear_error();
}

// A server that has proved nothing is no server of ours, whatever its certificate says.
int refuse_certificate(X509_STORE_CTX* store, void*) {
  X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
  return 0;
}

void check(const Material& material, bool is_server) {
  if (material.certificate.empty() != material.key.empty()) {
    throw_bad(material.key.empty() ? "tls_cert has no tls_key: give the certificate's private key"
                                   : "tls_key has no tls_cert: give the key's certificate");
  }
  if (is_server && !material.authorities.empty() && material.certificate.empty())
    throw_bad("tls_ca has no tls_cert: a server that asks for certificates has to have one");
  if (is_server && material.tokens.empty() && material.certificate.empty())
    throw_bad("TLS needs a token, or a certificate and its key (tls_cert, tls_key)");
  if (is_server && !material.tokens.empty() && !material.certificate.empty() &&
      material.authorities.empty()) {
    throw_bad(
        "with a token and a certificate, a client without a token could prove nothing: give "
        "tls_ca, whose certificates clients must have, or leave the token or tls_cert out");
  }
}

std::shared_ptr<Credentials::Impl> make(const Material& material, bool is_server) {
  check(material, is_server);
  ERR_clear_error();
  auto side = std::make_shared<Credentials::Impl>();
  side->is_server = is_server;
  side->bytes_per_key = material.bytes_per_key;
  side->has_certificate = !material.certificate.empty();
  side->context.reset(SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method()));
  SSL_CTX* context = side->context.get();
  if (context == nullptr || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(context, kCiphers) != 1 ||
      SSL_CTX_set1_groups_list(context, "X25519") != 1 ||
      // A client's would have to be in its token's session, too.
      (is_server && SSL_CTX_set_session_id_context(context, kSessionContext,
                                                   sizeof(kSessionContext) - 1) != 1)) {
    throw Error(ErrorCode::kUnsupported,
                "OpenSSL does TLS 1.3 with X25519 not here: " + take_error_text());
  }
  // Nobody resumes: each connection has keys of its own, and nothing is kept between them.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_max_cert_list(context, kCertificateBytesMax);
  SSL_CTX_set_options(context,
                      SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  side->quotas = quotas_of(material.tokens);
  for (const Token& token : material.tokens) {
    side->keys.emplace_back(token);
    if (!is_server) break;
  }
  if (!side->keys.empty()) use_tokens(context, is_server);
  if (side->has_certificate) use_certificate(context, material);
  if (!is_server && !side->keys.empty()) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_cert_verify_callback(context, refuse_certificate, nullptr);
  } else if (!material.authorities.empty()) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    trust(context, material, is_server);
  } else if (!is_server) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    trust_system(context);
    if (side->has_certificate) trust_own(context);
  }
  ERR_clear_error();
  return side;
}

}  // namespace

std::string library_version() {
#ifdef RDZV_BUNDLED_TLS
  return std::string(OpenSSL_version(OPENSSL_VERSION)) + ", in the wheel";
#else
  return OpenSSL_version(OPENSSL_VERSION);
#endif
}

const Key* Credentials::Impl::find(Bytes identity) const {
  const Key* found = nullptr;
  for (const Key& key : keys) {
    if (key.is_identity(identity)) found = &key;
  }
  return found;
}

std::shared_ptr<const Credentials> Credentials::for_server(const Material& material) {
  return std::make_shared<const Credentials>(make(material, true));
}

std::shared_ptr<const Credentials> Credentials::for_client(const Material& material) {
  return std::make_shared<const Credentials>(make(material, false));
}

std::unique_ptr<Session> Credentials::begin(const std::string& server_name) const {
  return std::make_unique<Session::Impl>(impl_, server_name);
}

bool Credentials::has_tokens() const {
  return !impl_->keys.empty();
}

const Quotas& Credentials::quotas() const {
  return impl_->quotas;
}

std::vector<std::string> Credentials::key_names() const {
  std::vector<std::string> names;
  for (const Key& key : impl_->keys) names.push_back(key.name());
  return names;
}

}  // namespace rdzv::tls
