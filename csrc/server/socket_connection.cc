#include "server/socket_connection.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/error.h"
#include "net/socket.h"

namespace rdzv {

SocketConnection::SocketConnection(UniqueFd fd, const SocketAddress& peer, Shared& shared)
    : fd_(std::move(fd)),
      peer_(peer),
      shared_(shared),
      connection_(shared.core.connect(*this, shared.time())) {}

SocketConnection::~SocketConnection() {
  if (fd_) shared_.core.close(connection_, "", shared_.time());
}

std::string SocketConnection::reached_at() const {
  if (!fd_ || peer_.is_loopback()) return {};
  return SocketAddress::local_of(fd_.get()).host();
}

void SocketConnection::begin() {
  receive();
  if (!fd_) return;
  shared_.loop.watch_events(fd_.get(), Interest::kRead, *this);
  update_interest();
}

void SocketConnection::on_ready(bool readable, bool writable) {
  if (connection_.is_ending()) return;
  if (readable) receive();
  if (!writable || !fd_) return;
  if (line_ != nullptr && !line_->flush(fd_.get()))
    return shared_.core.close(connection_, "", shared_.time());
  shared_.core.resume_sending(connection_, shared_.time());
  if (fd_ && line_ != nullptr) update_interest();
}

void SocketConnection::on_refused(int error) {
  shared_.core.on_refused(connection_, error, shared_.time());
}

void SocketConnection::receive() {
  if (!connection_.wants_input()) return;  // it says when it does: read_again()
  if (line_ != nullptr && line_->state() == tls::Session::State::kEnded)
    return shared_.core.end_of_stream(connection_, shared_.time());
  if (!is_known() && has_to_wait()) return;
  std::vector<char>& buffer = shared_.buffer;
  const size_t room = std::min(buffer.size(), connection_.input_room());
  const long received = receive_some(fd_.get(), buffer.data(), room);
  if (received == kWouldBlock) return;
  if (received == kBroken) {
    const int error = errno;
    // A reset is how a killed process looks; only other errors are worth a line.
    const bool has_left = error == ECONNRESET || error == EPIPE;
    if (error == 0) {
      shared_.core.end_of_stream(connection_, shared_.time());
    } else {
      shared_.core.close(connection_, has_left ? "" : "receive failed: " + errno_text(error),
                         shared_.time());
    }
    return;
  }
  if (!is_admitted_ && !admit(buffer.front())) return;
  take(Bytes(buffer.data(), static_cast<size_t>(received)));
  if (!fd_) return;
  if (connection_.state() == Connection::State::kPutOff) {
    shared_.loop.leave_unhandled();
  } else if (static_cast<size_t>(received) == room) {
    shared_.loop.call_again(*this);
  }
}

bool SocketConnection::has_to_wait() {
  if (shared_.security.keeper == nullptr) return false;
  if (is_slow_ || (!shared_.suspects.empty() && is_slowed_down())) return true;
  if (shared_.hellos_left > 0) {
    --shared_.hellos_left;
    return false;
  }
  shared_.loop.leave_unhandled();
  if (!std::exchange(is_waiting_, true)) shared_.waiting.push_back(fd_.get());
  return true;
}

// Once: others may be refused there again and again meanwhile, and it may have the token.
bool SocketConnection::is_slowed_down() {
  if (was_slow_) return false;
  const Instant current = now();
  const Instant when = shared_.suspects.when(peer_.network(), current);
  if (when <= current) return false;
  was_slow_ = is_slow_ = true;
  patience_ = shared_.loop.call_at(when, [this] {
    patience_.reset();
    is_slow_ = false;
    shared_.loop.call_again(*this);
    update_interest();
  });
  return true;
}

void SocketConnection::begin_late() {
  if (std::exchange(is_waiting_, false) && fd_) receive();
}

// False: it is refused, and closed.
bool SocketConnection::admit(char first_byte) {
  const ServerSecurity& security = shared_.security;
  Admission admission =
      rdzv::admit(security, first_byte, security.takes_unproved(peer_.host(), peer_.is_loopback()));
  is_admitted_ = true;
  switch (admission.way) {
    case Admission::Way::kPlain:
      return true;
    case Admission::Way::kTls:
      line_ = std::make_unique<SecureLine>(shared_.security.keeper->current()->begin(),
                                           shared_.core.memory().sessions);
      return true;
    case Admission::Way::kRefused:
      break;
  }
  // What is left unread would make the kernel take the answer back.
  std::vector<char>& buffer = shared_.buffer;
  while (receive_some(fd_.get(), buffer.data(), buffer.size()) ==
         static_cast<long>(buffer.size())) {
  }
  if (!admission.answer.empty()) send_some(fd_.get(), admission.answer);
  refuse(admission.why);
  return false;
}

void SocketConnection::refuse(const std::string& why) {
  if (shared_.security.keeper != nullptr) shared_.suspects.note(peer_.network(), now());
  shared_.core.refuse(connection_, why, shared_.time());
}

void SocketConnection::take(Bytes received) {
  if (line_ != nullptr) {
    take_secured(received);
  } else {
    shared_.core.receive(connection_, received, shared_.time());
  }
}

void SocketConnection::take_secured(Bytes received) {
  std::string& plain = shared_.plain;
  plain.clear();
  const bool was_known = line_->peer() != nullptr;
  line_->receive(received, plain);
  if (!was_known && line_->peer() != nullptr)
    shared_.core.identify(connection_, *line_->peer(), shared_.time());
  const bool is_there = line_->flush(fd_.get());
  if (!plain.empty()) shared_.core.receive(connection_, plain, shared_.time());
  if (!fd_) return;
  switch (line_->state()) {
    case tls::Session::State::kFailed:
      if (line_->peer() == nullptr) return refuse(line_->failure());
      return shared_.core.close(connection_, line_->failure(), shared_.time());
    case tls::Session::State::kEnded:
      // What it said before may have to wait for its turn.
      if (connection_.wants_input()) shared_.core.end_of_stream(connection_, shared_.time());
      return;
    case tls::Session::State::kHandshake:
    case tls::Session::State::kOpen:
      break;
  }
  if (!is_there) return shared_.core.close(connection_, "", shared_.time());
  if (line_->has_unsent()) update_interest();
}

std::optional<size_t> SocketConnection::send(std::span<const Bytes> pieces) {
  if (line_ != nullptr) return line_->send(fd_.get(), pieces, shared_.joined);
  const long sent =
      pieces.size() == 1 ? send_some(fd_.get(), pieces.front()) : send_gathered(fd_.get(), pieces);
  if (sent == kBroken) return std::nullopt;
  return sent == kWouldBlock ? 0 : static_cast<size_t>(sent);
}

void SocketConnection::on_changed() {
  update_low_water();
  if (fd_) update_interest();
}

void SocketConnection::read_again() {
  shared_.loop.call_again(*this);
}

// A large request often comes in small pieces. Nothing can be done with it before it is whole, so
// the kernel may gather some of what is missing before it wakes us. How much that is may be a
// guess: then not for long, for the peer may wait for an answer already.
void SocketConnection::update_low_water() {
  constexpr size_t kWorthIt = 16 * 1024;
  constexpr size_t kGuessWorthIt = 1024;
  constexpr Duration kPatience = std::chrono::milliseconds(1);
  // How much of what is missing lies in a record that is not whole, the kernel cannot know.
  if (line_ != nullptr) return;
  const Connection::Awaited awaited = connection_.awaited();
  const bool is_guess = awaited.missing < kWorthIt && awaited.expected >= kGuessWorthIt;
  if (!is_guess) {
    if (patience_) shared_.loop.cancel(*std::exchange(patience_, std::nullopt));
    set_low_water(awaited.missing >= kWorthIt ? awaited.missing : 1);
    return;
  }
  set_low_water(awaited.expected);
  if (patience_ || !fd_) return;
  patience_ = shared_.loop.call_at(now() + kPatience, [this] {
    patience_.reset();
    set_low_water(1);
  });
}

void SocketConnection::set_low_water(size_t bytes) {
  constexpr size_t kMost = 64 * 1024;  // half of what the kernel keeps for a connection at first
  const auto wanted = static_cast<uint32_t>(std::min(bytes, kMost));
  if (wanted == low_water_) return;
  if (set_receive_low_water(fd_.get(), wanted)) {
    low_water_ = wanted;
  } else if (wanted < low_water_) {
    shared_.core.close(connection_,
                       "cannot set when the system reports received data: " + errno_text(errno),
                       shared_.time());
  }
}

void SocketConnection::update_interest() {
  Interest interest = is_slow_ ? Interest::kNone : Interest::kWrite;
  if (!is_slow_ && !connection_.congested() &&
      connection_.state() != Connection::State::kFinishing) {
    const bool is_stuck = line_ != nullptr && line_->has_unsent();
    const bool sent_all =
        !is_stuck && (connection_.unsent() == 0 || connection_.is_to_be_flushed());
    interest = sent_all ? Interest::kRead : Interest::kBoth;
  }
  shared_.loop.set_interest(*this, interest);
}

void SocketConnection::close() {
  if (patience_) shared_.loop.cancel(*patience_);
  shared_.loop.unwatch(*this);
  if (line_ != nullptr) line_->end(fd_.get());
  const int fd = fd_.get();
  fd_.reset();
  shared_.on_closed(fd);
}

}  // namespace rdzv
