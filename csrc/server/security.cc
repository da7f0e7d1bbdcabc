#include "server/security.h"

#include "base/error.h"
#include "base/log.h"
#include "server/refusal.h"
#include "server/text_protocol.h"
#include "tls/session.h"
#include "wire/c10d.h"
#include "wire/native.h"

namespace rdzv {

bool ServerSecurity::takes_unproved(const std::string& peer_host, bool is_loopback) const {
  if (is_loopback) return true;
  return allowed != nullptr ? allowed->contains(peer_host) : keeper == nullptr;
}

void check_closed(const ServerSecurity& security, const std::string& host, const std::string& where,
                  bool is_exposed) {
  if (!is_exposed || security.keeper != nullptr || security.allowed != nullptr) return;
  if (security.is_insecure) {
    log(LogLevel::kWarning, "server " + where +
                                ": insecure: without a token, everybody who can reach " + host +
                                " can read and change what is stored");
    return;
  }
  throw Error(ErrorCode::kRefused,
              "cannot serve at " + where + " without a token: " + host +
                  " is for other machines as well, and everybody who can reach it could read and "
                  "change what is stored. Make a token, which all your commands and jobs find:\n"
                  "  rendezvous token --save\n"
                  "or serve without:\n"
                  "  export RENDEZVOUS_INSECURE=1\n"
                  "(the same: --insecure, insecure=1 in --rdzv-conf, insecure=True in Python)");
}

Admission admit(const ServerSecurity& security, char first_byte, bool may_do_without) {
  const bool is_tls = first_byte == tls::kHandshakeByte;
  if (security.keeper == nullptr) {
    if (!is_tls) return {};
    return {Admission::Way::kRefused,
            "it speaks TLS, and this server was started without a token or certificates",
            std::string(tls::no_tls_alert())};
  }
  if (is_tls) return {Admission::Way::kTls};
  const bool is_c10d = first_byte == static_cast<char>(c10d::Code::kValidate);
  const bool is_text = begins_text(first_byte);
  // Torch's protocol has no place for a proof, and neither has a line of text.
  if ((is_c10d || is_text) && may_do_without) return {};
  const bool is_native = first_byte == native::kMagic[0];
  if (!is_c10d && !is_native && !is_text) {
    return {Admission::Way::kRefused,
            "its first bytes are neither TLS nor a protocol of this server",
            {}};
  }
  const bool has_tokens = security.keeper->current()->has_tokens();
  const std::string wanted = has_tokens ? "a token" : "TLS";
  if (is_c10d) {
    return {Admission::Way::kRefused,
            "it speaks the c10d protocol, which carries no proof; this server wants " + wanted +
                " and takes such clients from its own machine" +
                (security.allowed == nullptr ? " only" : " and the round's nodes only"),
            {}};
  }
  if (is_text) {
    return {Admission::Way::kRefused, "it sent text, and this server wants " + wanted,
            "this server wants " + wanted +
                ", for which text has no place: use `rendezvous status`, or ask from its own "
                "machine\n"};
  }
  const std::string how =
      has_tokens ? "set RENDEZVOUS_TOKEN_FILE or RENDEZVOUS_TOKEN to the token of the server"
                 : "connect with its certificate's authority (tls_ca)";
  return {Admission::Way::kRefused, "it came without TLS, and this server wants " + wanted,
          refusal_frame(ErrorCode::kRefused, "it wants " + wanted + ": " + how)};
}

}  // namespace rdzv
