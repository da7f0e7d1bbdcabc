// OpenSSL's reasons and the peer's alerts as sentences for who runs a server or calls a client.
#include <string>
#include <utility>

#include "base/text.h"
#include "tls/parts.h"

namespace rdzv::tls {
namespace {

constexpr size_t kNamesShown = 4;
constexpr char kSetToken[] =
    "; give both sides the same token (RENDEZVOUS_TOKEN_FILE or RENDEZVOUS_TOKEN)";

// The first that TLS itself says: before it may stand why a signature or a key was no good.
std::pair<int, std::string> take_reason() {
  std::string text = "unknown error";
  for (bool is_first = true; const unsigned long code = ERR_get_error(); is_first = false) {
    const char* reason = ERR_reason_error_string(code);
    const bool is_of_tls = ERR_GET_LIB(code) == ERR_LIB_SSL;
    if (reason != nullptr && (is_first || is_of_tls)) text = reason;
    if (!is_of_tls) continue;
    ERR_clear_error();
    return {ERR_GET_REASON(code), std::move(text)};
  }
  return {0, std::move(text)};
}

// RFC 8446, 6.2. One that says nothing of certificates has no text.
const char* certificate_alert_text(int alert) {
  switch (alert) {
    case SSL_AD_BAD_CERTIFICATE:
      return "it is not good";
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
      return "it is of a kind that is not taken";
    case SSL_AD_CERTIFICATE_REVOKED:
      return "it was revoked";
    case SSL_AD_CERTIFICATE_EXPIRED:
      return "it has expired, or is not valid yet";
    case SSL_AD_CERTIFICATE_UNKNOWN:
      return "it is not for this, or not for this name";
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_DECRYPT_ERROR:
      return "none of the authorities that are trusted there vouches for it";
    default:
      return nullptr;
  }
}

std::string names_of(const std::vector<Key>& keys) {
  std::string names;
  for (size_t i = 0; i < keys.size() && i < kNamesShown; ++i)
    names += (i == 0 ? "" : ", ") + keys[i].name();
  if (keys.size() > kNamesShown)
    names += " and " + std::to_string(keys.size() - kNamesShown) + " more";
  return names;
}

std::string of_verification(const Session::Impl& session, long code) {
  const bool is_server = session.side->is_server;
  if (!is_server && !session.side->keys.empty()) {
    return std::string("the server showed a certificate and did not prove that it has the token") +
           kSetToken;
  }
  const std::string whose = is_server ? "its certificate" : "the server's certificate";
  if (code == X509_V_ERR_HOSTNAME_MISMATCH || code == X509_V_ERR_IP_ADDRESS_MISMATCH) {
    return whose + " is for another name than " + quoted(session.server_name) +
           "; connect to a name that stands in it, or say which one does";
  }
  return whose + " is refused: " + X509_verify_cert_error_string(code);
}

std::string of_alert(const Session::Impl& session, int alert) {
  const Credentials::Impl& side = *session.side;
  if (const char* why = certificate_alert_text(alert); why != nullptr && side.is_server)
    return std::string("it refused this server's certificate: ") + why;
  if (side.is_server) return "it ended the TLS handshake with alert " + std::to_string(alert);
  if (const char* why = certificate_alert_text(alert); why != nullptr && side.keys.empty())
    return std::string("the server refused this client's certificate: ") + why;
  if (alert == SSL_AD_UNEXPECTED_MESSAGE && !session.identity.by_token) {
    return "the server speaks no TLS: it was started without a token and certificates; start it "
           "with the same, or connect without";
  }
  if (alert == SSL_AD_PROTOCOL_VERSION) return "the server speaks no TLS 1.3";
  if (alert == SSL_AD_INTERNAL_ERROR) {
    return "the server has no room for another connection (TLS alert \"internal error\"); its log "
           "says what it is short of";
  }
  if (!side.keys.empty())
    return "the server does not know the token " + side.keys.front().name() + kSetToken;
  if (alert == SSL_AD_CERTIFICATE_REQUIRED) {
    return "the server wants its clients to show a certificate; give one and its key (tls_cert, "
           "tls_key)";
  }
  if (alert == SSL_AD_HANDSHAKE_FAILURE)
    return "the server wants a token, or has nothing else in common with this client; set "
           "RENDEZVOUS_TOKEN_FILE or RENDEZVOUS_TOKEN to the token of the server";
  return "the server ended the TLS handshake with alert " + std::to_string(alert);
}

std::string of_client_without_token(const Credentials::Impl& side, const std::string& offered) {
  if (offered.empty()) return std::string("it offered no token") + kSetToken;
  return "it has another token: it offered " + described_identity(offered) + ", this server has " +
         names_of(side.keys) + kSetToken;
}

// What is no alert.
std::string of_reason(const Session::Impl& session, int reason, const std::string& text) {
  const Credentials::Impl& side = *session.side;
  if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
    return of_verification(session, SSL_get_verify_result(session.ssl.get()));
  if (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_WRONG_SSL_VERSION)
    return side.is_server ? "it speaks no TLS 1.3" : "the server speaks no TLS 1.3";
  if (session.state_ == Session::State::kOpen) return "what it sent is not TLS (" + text + ")";
  if (!side.is_server) return "the server's answer is not TLS 1.3 (" + text + ")";
  if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
    return "it showed no certificate, and this server wants one";
  if (session.key != nullptr) {
    return "it did not prove that it has the token " + session.key->name() + " (" + text + ")" +
           kSetToken;
  }
  const bool has_said_what = reason == SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM ||
                             reason == SSL_R_NO_SHARED_CIPHER || !session.offered.empty();
  if (!side.keys.empty() && !side.has_certificate && has_said_what)
    return of_client_without_token(side, session.offered);
  if (!session.offered.empty()) return of_client_without_token(side, session.offered);
  return "its TLS handshake fails: " + text;
}

}  // namespace

Failure take_failure(const Session::Impl& session) {
  const auto [reason, text] = take_reason();
  if (reason <= SSL_AD_REASON_OFFSET) return {of_reason(session, reason, text)};
  const int alert = reason - SSL_AD_REASON_OFFSET;
  return {of_alert(session, alert), !session.side->is_server && alert == SSL_AD_INTERNAL_ERROR};
}

}  // namespace rdzv::tls
