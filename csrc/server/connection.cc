#include "server/connection.h"

#include <cerrno>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "net/socket.h"
#include "wire/limits.h"

namespace rdzv {
namespace {

// Buffers above this are given back when they are empty, so that an idle connection is small.
constexpr size_t kBufferKept = 4096;

void release_if_large(std::string& buffer) {
  if (buffer.capacity() > kBufferKept) std::string().swap(buffer);
}

}  // namespace

Connection::Connection(UniqueFd fd, ServerContext& context, const OnClosed& on_closed)
    : fd_(std::move(fd)), context_(context), on_closed_(on_closed) {
  context_.loop.watch(fd_.get(), Interest::kRead, *this);
}

Connection::~Connection() {
  close("");
}

void Connection::on_ready(bool readable, bool writable) {
  if (readable) receive();
  if (writable && !closed()) flush();
}

void Connection::receive() {
  std::vector<char>& buffer = context_.receive_buffer;
  long received = receive_some(fd_.get(), buffer.data(), buffer.size());
  if (received == kWouldBlock) return;
  if (received == kBroken) {
    // A reset is how a killed process looks; only other errors are worth a line.
    bool left = errno == 0 || errno == ECONNRESET || errno == EPIPE;
    close(left ? "" : "receive failed: " + errno_text(errno));
    return;
  }
  consume(Bytes(buffer.data(), static_cast<size_t>(received)));
  if (!closed()) update_interest();
}

void Connection::consume(Bytes received) {
  if (in_.empty()) {
    size_t used = consume_some(received);
    if (!closed()) in_.append(received.substr(used));
    return;
  }
  in_.append(received);
  consume_buffered();
}

void Connection::consume_buffered() {
  size_t used = consume_some(in_);
  if (closed()) return;
  in_.erase(0, used);
  if (in_.empty()) release_if_large(in_);
}

size_t Connection::consume_some(Bytes input) {
  if (session_ == nullptr && !choose_session(input)) return 0;
  size_t used = session_->consume(input);
  stalled_ = !closed() && congested();
  return used;
}

bool Connection::congested() const {
  return out_.size() - sent_ > limits::kUnsentBytesMax;
}

bool Connection::choose_session(Bytes input) {
  if (static_cast<uint8_t>(input[0]) == static_cast<uint8_t>(c10d::Code::kValidate)) {
    session_ = make_c10d_session(*this, context_);
    return true;
  }
  if (input[0] == native::kMagic[0]) {
    session_ = make_native_session(*this, context_);
    return true;
  }
  close("it speaks neither of our protocols; its first bytes are " + quoted(input.substr(0, 16)));
  return false;
}

void Connection::reply_ready() {
  if (in_unsent_list_ || closed()) return;
  in_unsent_list_ = true;
  context_.unsent.push_back(this);
}

void Connection::flush() {
  in_unsent_list_ = false;
  if (closed()) return;
  while (sent_ < out_.size()) {
    long sent = send_some(fd_.get(), Bytes(out_).substr(sent_));
    if (sent == kWouldBlock) break;
    if (sent == kBroken) {
      close("");
      return;
    }
    sent_ += static_cast<size_t>(sent);
  }
  if (sent_ == out_.size()) {
    out_.clear();
    sent_ = 0;
    release_if_large(out_);
  }
  if (stalled_ && !congested()) consume_buffered();
  if (!closed()) update_interest();
}

void Connection::update_interest() {
  if (congested()) {
    context_.loop.set_interest(*this, Interest::kWrite);
  } else {
    bool sent_all = sent_ == out_.size() || in_unsent_list_;
    context_.loop.set_interest(*this, sent_all ? Interest::kRead : Interest::kBoth);
  }
}

void Connection::close(const std::string& why) {
  if (closed()) return;
  if (!why.empty()) {
    log(LogLevel::kWarning,
        context_.name + ": closed the connection from " + peer().to_string() + ": " + why);
  }
  context_.loop.unwatch(*this);
  fd_.reset();
  if (session_ != nullptr) session_->on_closed();
  on_closed_(*this);
}

}  // namespace rdzv
