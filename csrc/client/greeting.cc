#include "client/greeting.h"

#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "base/version.h"
#include "net/socket.h"
#include "wire/c10d.h"

namespace rdzv {
namespace {

constexpr size_t kShownBytesMax = 32;

std::string shown(Bytes in) {
  return quoted(in.substr(0, kShownBytesMax));
}

}  // namespace

void throw_silent(const std::string& endpoint, Duration waited) {
  throw Error(ErrorCode::kNoAnswer, "timeout: the peer at " + endpoint +
                                        " accepted the connection but did not answer within " +
                                        seconds_text(waited) +
                                        "; it is stopped, overloaded, or not a rendezvous store");
}

void throw_no_store(const std::string& endpoint, const std::string& seen) {
  throw Error(ErrorCode::kProtocol, "the peer at " + endpoint + " is not a rendezvous store: " +
                                        seen + "; check which program listens on that port");
}

bool Greeting::secure(std::unique_ptr<tls::Session> session) {
  session_ = std::move(session);
  plain_.clear();
  while (!session_->is_open()) {
    if (!send_raw()) return false;
    const std::optional<Bytes> in = receive_raw();
    if (!in) return false;
    session_->receive(*in, plain_);
    if (session_->state() == tls::Session::State::kFailed) throw_refused();
  }
  return send_raw();
}

void Greeting::throw_refused() {
  // An alert tells the peer why.
  send_some(fd_, session_->to_send());
  throw Error(session_->may_pass() ? ErrorCode::kLimit : ErrorCode::kRefused,
              "no connection to " + endpoint_ + ": " + session_->failure());
}

// What TLS has to send.
bool Greeting::send_raw() {
  for (Bytes out = session_->to_send(); !out.empty(); out = session_->to_send()) {
    const long count = send_some(fd_, out);
    if (count == kBroken) return false;
    if (count > 0) session_->on_sent(static_cast<size_t>(count));
    if (count == kWouldBlock) wait(false);
  }
  return true;
}

bool Greeting::send(Bytes out) {
  if (session_ != nullptr) {
    session_->send(out);
    return send_raw();
  }
  while (!out.empty()) {
    long count = send_some(fd_, out);
    if (count == kBroken) return false;
    if (count > 0) out.remove_prefix(static_cast<size_t>(count));
    if (count == kWouldBlock) wait(false);
  }
  return true;
}

std::optional<Bytes> Greeting::receive() {
  const std::optional<Bytes> in = receive_raw();
  if (!in || session_ == nullptr) return in;
  plain_.clear();
  session_->receive(*in, plain_);
  if (session_->state() == tls::Session::State::kFailed) throw_refused();
  return plain_;
}

std::optional<Bytes> Greeting::receive_raw() {
  const long count = receive_some(fd_, buffer_, sizeof(buffer_));
  if (count == kBroken) {
    if (!begin_.empty() && session_ == nullptr)
      throw_no_store(endpoint_, "it answered " + shown(begin_) + " and hung up");
    return std::nullopt;
  }
  if (count == kWouldBlock) {
    wait(true);
    return Bytes();
  }
  const Bytes received(buffer_, static_cast<size_t>(count));
  if (begin_.size() < kShownBytesMax) begin_.append(received.substr(0, kShownBytesMax));
  return received;
}

void Greeting::wait(bool read) {
  wait_ready(fd_, read, !read, std::min(deadline_.left(), kInterruptSlice));
  throw_if_interrupted();
  if (deadline_.passed() || cancelled_()) throw_silent(endpoint_, deadline_.timeout());
}

std::string client_text() {
  return std::string("rendezvous ") + kVersion + " pid " + std::to_string(::getpid());
}

bool secure(Greeting& greeting, const tls::Keeper* keeper, const std::string& host) {
  return keeper == nullptr || greeting.secure(keeper->begin(host));
}

bool greet_native(Greeting& greeting, ClientCore& core, std::string* heard) {
  while (core.state() == ClientCore::State::kGreeting) {
    const Bytes out = core.to_send();
    if (!greeting.send(out)) return false;
    core.on_sent(out.size(), now());
    const std::optional<Bytes> in = greeting.receive();
    if (!in) return false;
    if (heard != nullptr) heard->append(*in);
    core.receive(*in, now());
  }
  if (core.state() == ClientCore::State::kOpen) return true;
  const ClientCore::Break& broken = core.broken();
  if (broken.code == ErrorCode::kProtocol) throw_no_store(greeting.endpoint(), broken.why);
  throw Error(broken.code, "the server at " + greeting.endpoint() + " refused: " + broken.why);
}

bool greet_c10d(Greeting& greeting) {
  // Nobody else answers with the same number: other programs send text, or hang up.
  const auto nonce = static_cast<uint32_t>(::getpid());
  std::string out;
  c10d::put_request(out, c10d::Code::kValidate, {}, c10d::kMagic);
  c10d::put_request(out, c10d::Code::kPing, {}, nonce);
  std::string echo;
  c10d::put_u32(echo, nonce);
  if (!greeting.send(out)) return false;
  std::string in;
  for (;;) {
    if (in != echo.substr(0, in.size())) {
      throw_no_store(greeting.endpoint(),
                     "it does not speak the c10d protocol; it answered " + shown(in));
    }
    if (in.size() == echo.size()) return true;
    const std::optional<Bytes> more = greeting.receive();
    if (!more) return false;
    in.append(*more);
  }
}

}  // namespace rdzv
