#include "tls/session.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "tls/parts.h"

namespace rdzv::tls {
namespace {

constexpr unsigned char kUnknownPskIdentity = 115;

std::string alert_record(unsigned char alert) {
  const unsigned char record[] = {0x15, 0x03, 0x03, 0x00, 0x02, 0x02, alert};
  return {reinterpret_cast<const char*>(record), sizeof(record)};
}

// A server's answer to a client that would have to say hello again, with another key share.
bool is_hello_retry(Bytes out) {
  using namespace std::string_view_literals;
  // Behind the heads of record and message, and the version: RFC 8446, 4.1.3.
  constexpr size_t kRandomAt = 5 + 4 + 2;
  constexpr Bytes kRandom =
      "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91"
      "\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c"sv;
  return out.size() > kRandomAt && out.substr(kRandomAt).starts_with(kRandom);
}

bool begins_tls(char first, bool is_server) {
  return first == kHandshakeByte || (!is_server && first == kAlertByte);
}

}  // namespace

Bytes no_tls_alert() {
  static const std::string alert = alert_record(SSL_AD_UNEXPECTED_MESSAGE);
  return alert;
}

Bytes full_alert() {
  static const std::string alert = alert_record(SSL_AD_INTERNAL_ERROR);
  return alert;
}

Session::Impl::Impl(std::shared_ptr<const Credentials::Impl> of_side, const std::string& name)
    : side(std::move(of_side)), ssl(SSL_new(side->context.get())), server_name(name) {
  BioPointer bio = ssl == nullptr ? nullptr : make_bio(*this);
  if (bio == nullptr) throw std::bad_alloc();
  SSL_set_bio(ssl.get(), bio.get(), bio.get());
  static_cast<void>(bio.release());  // one owner for both directions
  SSL_set_app_data(ssl.get(), this);
  if (side->is_server) {
    SSL_set_accept_state(ssl.get());
    return;
  }
  SSL_set_connect_state(ssl.get());
  if (side->keys.empty() && name != kAnyName) {
    X509_VERIFY_PARAM* wanted = SSL_get0_param(ssl.get());
    // An address is no name, and is not sent as one.
    if (X509_VERIFY_PARAM_set1_ip_asc(wanted, name.c_str()) != 1) {
      ERR_clear_error();
      if (name.empty() || X509_VERIFY_PARAM_set1_host(wanted, name.c_str(), 0) != 1 ||
          SSL_set_tlsext_host_name(ssl.get(), name.c_str()) != 1) {
        ERR_clear_error();
        throw Error(ErrorCode::kInvalidArgument,
                    quoted(name) + " is not a name that a server's certificate could be for");
      }
    }
  }
  std::string nothing;
  go_on(nothing);
}

void Session::Impl::go_on(std::string& plain) {
  const size_t unsent = out.size();
  ERR_clear_error();
  int result = 1;
  if (state_ == State::kHandshake) {
    result = SSL_do_handshake(ssl.get());
    if (result == 1) {
      const bool by_token = SSL_session_reused(ssl.get()) == 1;
      if (!side->is_server && !side->keys.empty() && !by_token)
        return fail("the server did not prove that it has the token");
      identity.by_token = by_token;
      if (by_token && key != nullptr) {
        identity.space = key->space();
        identity.role = key->role();
        identity.key_id = key->id();
      } else if (by_token) {
        identity.key_id = side->keys.front().id();
      }
      if (const X509* shown = SSL_get0_peer_certificate(ssl.get()); shown != nullptr) {
        char subject[256];
        X509_NAME_oneline(X509_get_subject_name(shown), subject, sizeof(subject));
        identity.certificate = subject;
      }
      std::string().swap(offered);
      state_ = State::kOpen;
    }
  }
  char buffer[kRecordBytesMax];
  size_t count = 0;
  while (result == 1) {
    result = SSL_read_ex(ssl.get(), buffer, sizeof(buffer), &count);
    if (result == 1) plain.append(buffer, count);
  }
  switch (SSL_get_error(ssl.get(), result)) {
    case SSL_ERROR_WANT_READ:
      break;
    case SSL_ERROR_ZERO_RETURN:
      state_ = State::kEnded;
      return;
    default:
      return fail_as_told();
  }
  // Its second hello could be of any length, and no client of ours needs one.
  if (state_ == State::kHandshake && side->is_server && is_hello_retry(out)) {
    out = alert_record(SSL_AD_HANDSHAKE_FAILURE);
    return fail("it offers no key of X25519 in its first message");
  }
  if (state_ == State::kHandshake && handshake_bytes > kHandshakeBytesMax)
    return fail("it sent more than " + std::to_string(kHandshakeBytesMax) +
                " bytes before it had said who it is");
  own_bytes += out.size() - unsent;
  if (own_bytes > kOwnBytesMax) fail("it asks for new keys and reads no answers");
}

void Session::Impl::write(Bytes plain) {
  ERR_clear_error();
  // A cipher's key may protect so many bytes and no more.
  if (bytes_with_key >= side->bytes_per_key) {
    bytes_with_key = 0;
    SSL_key_update(ssl.get(), SSL_KEY_UPDATE_NOT_REQUESTED);
  }
  bytes_with_key += plain.size();
  size_t written = 0;
  if (SSL_write_ex(ssl.get(), plain.data(), plain.size(), &written) != 1) fail_as_told();
}

void Session::Impl::fail_as_told() {
  if (is_out_of_memory) throw std::bad_alloc();
  Failure failure = take_failure(*this);
  may_pass_ = failure.may_pass;
  fail(std::move(failure.why));
}

void Session::Impl::fail(std::string why) {
  // OpenSSL has no better word for it than an internal error.
  if (side->is_server && !has_said_hello && !offered.empty() && key == nullptr)
    out = alert_record(kUnknownPskIdentity);
  state_ = State::kFailed;
  why_failed = std::move(why);
  ssl.reset();
  std::string().swap(offered);
  ERR_clear_error();
}

// OpenSSL makes room for a message as soon as that says how long it will be. So whoever sends a few
// bytes could have it take very much. Until those are here it cannot begin: a record has to have them
// all.
bool Session::Impl::is_too_long(Bytes received) {
  constexpr size_t kRecordHeadBytes = 5;
  constexpr size_t kMessageHeadBytes = 4;
  constexpr size_t kHeadBytes = kRecordHeadBytes + kMessageHeadBytes;
  if (head.size() == kHeadBytes) return false;
  head.append(received.substr(0, kHeadBytes - head.size()));
  const auto byte = [&](size_t at) { return size_t{static_cast<unsigned char>(head[at])}; };
  if (head.size() >= kRecordHeadBytes && (byte(3) << 8 | byte(4)) < kMessageHeadBytes) return true;
  if (head.size() < kHeadBytes) return false;
  return (byte(6) << 16 | byte(7) << 8 | byte(8)) > kHelloBytesMax;
}

void Session::Impl::receive(Bytes received, std::string& plain) {
  if (received.empty() || state_ >= State::kEnded) return;
  if (state_ == State::kHandshake) {
    if (handshake_bytes == 0 && !begins_tls(received.front(), side->is_server)) {
      return fail((side->is_server ? "it speaks no TLS; its first bytes are "
                                   : "the server speaks no TLS; it answered ") +
                  quoted(received.substr(0, 16)));
    }
    handshake_bytes += received.size();
    if (side->is_server && is_too_long(received)) {
      return fail("its first message does not begin as one of TLS does, or has more than " +
                  std::to_string(kHelloBytesMax) + " bytes");
    }
  }
  input = received;
  go_on(plain);
  input = {};
}

void Session::Impl::send(Bytes plain) {
  if (state_ != State::kOpen || plain.empty()) return;
  write(plain);
}

void Session::Impl::end() {
  if (state_ != State::kOpen && state_ != State::kEnded) return;
  ERR_clear_error();
  SSL_shutdown(ssl.get());
  ERR_clear_error();
}

Bytes Session::Impl::to_send() const {
  return Bytes(out).substr(out_sent);
}

void Session::Impl::on_sent(size_t count) {
  out_sent += std::min(count, out.size() - out_sent);
  if (out_sent < out.size()) return;
  // An idle session keeps no buffer.
  std::string().swap(out);
  out_sent = 0;
  own_bytes = 0;
}

}  // namespace rdzv::tls
