#include "aio/link.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/error.h"
#include "client/patience.h"
#include "net/socket.h"

namespace rdzv::aio {
namespace {

// Requests are sent together up to so much.
constexpr size_t kChunkBytes = 64 * 1024;

native::Id128 id_of(const std::string& bytes) {
  native::Id128 id{};
  std::copy_n(bytes.begin(), std::min(bytes.size(), id.size()), id.begin());
  return id;
}

}  // namespace

Session::Session(const std::string& id) : ClientSession(id_of(id)) {}

Link::Link(const ClientSession& session, Bytes heard, int fd, std::unique_ptr<tls::Session> secured)
    : core_(session.id(), ""), fd_(fd), secured_(std::move(secured)) {
  const Instant instant = now();
  core_.on_sent(core_.to_send().size(), instant);
  core_.receive(heard, instant);
}

Link::Sent Link::flush() {
  for (Bytes out = chunk(); !out.empty(); out = chunk()) {
    const long count = send_some(fd_, out);
    if (count == kWouldBlock) return kMore;
    if (count == kBroken) {
      end_sending(errno);
      return kNoMore;
    }
    on_chunk_taken(static_cast<size_t>(count));
  }
  return kAll;
}

void Link::receive(const char* bytes, size_t count) {
  const Bytes received(bytes, count);
  if (secured_ == nullptr) return core_.receive(received, now());
  plain_.clear();
  secured_->receive(received, plain_);
  if (!plain_.empty()) core_.receive(plain_, now());
  if (secured_->state() == tls::Session::State::kFailed) core_.break_off(secured_->failure());
  if (secured_->state() == tls::Session::State::kEnded) on_lost(0);
}

Bytes Link::chunk() {
  if (secured_ == nullptr) return plain_chunk();
  if (secured_->to_send().empty()) {
    // What is encrypted counts as sent: it cannot be taken back.
    const Bytes plain = plain_chunk().substr(0, kChunkBytes);
    secured_->send(plain);
    core_.on_sent(plain.size(), now());
  }
  return secured_->to_send();
}

void Link::on_chunk_taken(size_t count) {
  if (secured_ == nullptr) {
    core_.on_sent(count, now());
  } else {
    secured_->on_sent(count);
  }
}

// A large request is not copied.
Bytes Link::plain_chunk() {
  const Bytes first = core_.to_send();
  if (first.empty() || first.size() == core_.unsent_bytes())
    return first.substr(0, 4 * kChunkBytes);
  if (first.size() >= kChunkBytes) return first.substr(0, 4 * kChunkBytes);
  gathered_.clear();
  core_.gather(gathered_, kChunkBytes);
  return gathered_;
}

void Link::end_sending(int error) {
  core_.end_sending(errno_text(error));
}

void Link::on_lost(int error) {
  core_.break_off(error == 0 ? "the server closed the connection" : errno_text(error));
}

void Link::receive_what_is_there() {
  constexpr int kReadsMax = 64;
  std::string buffer(kChunkBytes, '\0');
  for (int reads = 0; reads < kReadsMax && is_open(); ++reads) {
    const long count = receive_some(fd_, buffer.data(), buffer.size());
    if (count <= 0) return;  // that it is over, the event loop will find
    receive(buffer.data(), static_cast<size_t>(count));
  }
}

bool Link::run_due() {
  const Instant instant = now();
  return core_.run_due(instant) && !seen_since(instant - kSilenceMax);
}

bool Link::seen_since(Instant instant) {
  return signs_.seen_since(instant, core_, untaken_bytes(fd_), now(),
                           [this] { return has_unread(fd_); });
}

Flight::Flight(NativeOperation asked)
    : Call(asked.request.operation),
      asked_(std::move(asked)),
      times_(asked_.request.timeout, asked_.request.is_timed) {
  waits_for_others = asked_.request.is_timed;
  if (asked_.request.timeout < kForever) deadline = times_.patient.at();
}

bool Flight::take_off(const std::shared_ptr<Link>& link, void* owner) {
  asked_.request.begin_attempt(times_);
  link_ = link;
  owner_ = owner;
  began_ = now();
  link->core().send(*this, asked_.request.body, began_);
  return !is_over();
}

void Flight::on_over() {
  if (owner_ != nullptr) link_->over_.push_back(owner_);
}

void Flight::give_up() {
  if (link_ == nullptr) return;
  owner_ = nullptr;
  link_->core().give_up(*this);
  link_.reset();
}

void Flight::miss() {
  asked_.request.begin_attempt(times_);
  reply = {};
  reply.outcome = ClientCore::Outcome::kTimedOut;
  reply.sent = false;
}

bool Flight::is_suspicious() {
  if (reply.outcome != ClientCore::Outcome::kTimedOut || link_ == nullptr) return false;
  return asked_.request.is_suspicious_unless(link_->alive_since(began_.time_since_epoch().count()));
}

void Flight::throw_unless_repeatable(const std::string& store, const std::string& broken) {
  NativeRequest& request = asked_.request;
  try {
    request.throw_unless_repeatable(reply, times_, store, broken);
  } catch (const Error& error) {
    if (native_operations::queue_is_empty(request, error)) throw_queue_empty(request.key, store);
    throw;
  }
}

NativeResult Flight::result(const std::string& store) {
  link_.reset();
  return asked_.result_of({std::move(reply.body), reply.body_begin}, store);
}

}  // namespace rdzv::aio
