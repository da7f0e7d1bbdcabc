// Certificates for tests, made when they run: nothing of them is kept in a file.
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tls_scene.h"

namespace rdzv::test {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

Key make_key() {
  return Key(EVP_EC_gen("P-256"), EVP_PKEY_free);
}

void add_extension(X509* to, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
  X509_EXTENSION* made = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  REQUIRE(made != nullptr);
  X509_add_ext(to, made, -1);
  X509_EXTENSION_free(made);
}

Certificate make_certificate(const Named& named, EVP_PKEY* key, X509* issuer, EVP_PKEY* signer) {
  static long serial = 1;
  Certificate made(X509_new(), X509_free);
  X509_set_version(made.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), serial++);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), named.from);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), named.until);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(named.name.c_str()), -1, -1, 0);
  X509* const by = issuer == nullptr ? made.get() : issuer;
  X509_set_issuer_name(made.get(), X509_get_subject_name(by));
  X509_set_pubkey(made.get(), key);
  add_extension(made.get(), by, NID_basic_constraints, issuer == nullptr ? "CA:TRUE" : "CA:FALSE");
  if (issuer != nullptr) {
    const bool is_address = named.name.find_first_not_of("0123456789abcdef.:") == std::string::npos;
    add_extension(made.get(), by, NID_subject_alt_name, (is_address ? "IP:" : "DNS:") + named.name);
  }
  REQUIRE(X509_sign(made.get(), signer, EVP_sha256()) > 0);
  return made;
}

template <typename Write>
std::string written(Write&& write) {
  BIO* bio = BIO_new(BIO_s_mem());
  write(bio);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio, &text);
  std::string pem(text, static_cast<size_t>(size));
  BIO_free(bio);
  return pem;
}

std::string pem_of(const Certificate& certificate) {
  return written([&](BIO* bio) { PEM_write_bio_X509(bio, certificate.get()); });
}

}  // namespace

struct Authority::Impl {
  Key key = make_key();
  Certificate certificate =
      make_certificate({"an authority", -3600, 86'400}, key.get(), nullptr, key.get());
};

Authority::Authority() : impl_(std::make_unique<Impl>()) {}
Authority::~Authority() = default;

std::string Authority::certificate() const {
  return pem_of(impl_->certificate);
}

std::pair<std::string, std::string> Authority::issue(const Named& named) const {
  const Key key = make_key();
  const Certificate made =
      make_certificate(named, key.get(), impl_->certificate.get(), impl_->key.get());
  return {pem_of(made), written([&](BIO* bio) {
            PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
          })};
}

}  // namespace rdzv::test
