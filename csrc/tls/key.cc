#include "tls/key.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>

#include "base/error.h"
#include "base/text.h"

namespace rdzv::tls {
namespace {

constexpr Bytes kIdentityPrefix = "rendezvous1/";
constexpr char kKeyLabel[] = "rendezvous 1 psk";
constexpr char kIdLabel[] = "rendezvous 1 key id";
constexpr size_t kKeyBytes = 32;
constexpr size_t kIdBytes = 8;

// A secret that is wiped when it goes.
template <size_t kSize>
struct Wiped {
  ~Wiped() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
  std::array<unsigned char, kSize> bytes{};
};

// `about` goes into the label, so that a token's keys hold for its name space and role alone.
template <size_t kSize>
void derive(const std::string& secret, const char* label, const std::string& about,
            std::array<unsigned char, kSize>& out) {
  std::string info = std::string(label) + '\0' + about;
  std::string salt = "rendezvous";
  char digest[] = "SHA256";
  // OpenSSL reads them only.
  OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<char*>(secret.data()),
                                        secret.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt.data(), salt.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.data(), info.size()),
      OSSL_PARAM_construct_end(),
  };
  const std::unique_ptr<EVP_KDF, Freed<EVP_KDF_free>> kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  const std::unique_ptr<EVP_KDF_CTX, Freed<EVP_KDF_CTX_free>> context(
      kdf == nullptr ? nullptr : EVP_KDF_CTX_new(kdf.get()));
  if (context == nullptr ||
      EVP_KDF_derive(context.get(), out.data(), out.size(), parameters) != 1) {
    throw Error(ErrorCode::kUnsupported,
                "OpenSSL cannot derive a key from a token: " + take_error_text());
  }
}

std::string hex(const std::array<unsigned char, kIdBytes>& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

// A session in which the key stands for the secret of an earlier one, as TLS 1.3 wants external keys
// to be given.
std::shared_ptr<SSL_SESSION> session_of(const std::array<unsigned char, kKeyBytes>& key) {
  std::shared_ptr<SSL_SESSION> session(SSL_SESSION_new(), SSL_SESSION_free);
  // A cipher of the key's digest; which one is used is agreed upon later.
  const std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>> context(SSL_CTX_new(TLS_method()));
  const SslPointer ssl(context == nullptr ? nullptr : SSL_new(context.get()));
  constexpr unsigned char kAes128GcmSha256[] = {0x13, 0x01};
  const SSL_CIPHER* cipher =
      ssl == nullptr ? nullptr : SSL_CIPHER_find(ssl.get(), kAes128GcmSha256);
  if (session == nullptr || cipher == nullptr ||
      SSL_SESSION_set1_master_key(session.get(), key.data(), key.size()) != 1 ||
      SSL_SESSION_set_cipher(session.get(), cipher) != 1 ||
      SSL_SESSION_set_protocol_version(session.get(), TLS1_3_VERSION) != 1) {
    throw Error(ErrorCode::kUnsupported,
                "OpenSSL does not take a token's key for TLS 1.3: " + take_error_text());
  }
  return session;
}

}  // namespace

Key::Key(const Token& token) : space_(token.space), role_(token.role) {
  const std::string about = space_ + "/" + role_text(role_);
  std::array<unsigned char, kIdBytes> id{};
  derive(token.secret, kIdLabel, about, id);
  id_ = hex(id);
  identity_ = std::string(kIdentityPrefix) + name();
  Wiped<kKeyBytes> key;
  derive(token.secret, kKeyLabel, about, key.bytes);
  session_ = session_of(key.bytes);
}

std::string Key::name() const {
  return space_ + "/" + role_text(role_) + "/" + id_;
}

bool Key::is_identity(Bytes offered) const {
  return offered.size() == identity_.size() &&
         CRYPTO_memcmp(offered.data(), identity_.data(), offered.size()) == 0;
}

SessionPointer Key::session() const {
  return SessionPointer(SSL_SESSION_dup(session_.get()));
}

std::string described_identity(Bytes offered) {
  if (!offered.starts_with(kIdentityPrefix)) return "a key called " + quoted(offered, 64);
  return "token " + quoted(offered.substr(kIdentityPrefix.size()), 120);
}

}  // namespace rdzv::tls
