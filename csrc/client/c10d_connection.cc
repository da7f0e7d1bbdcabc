#include "client/c10d_connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/interrupt.h"
#include "net/address.h"
#include "net/socket.h"

namespace rdzv {
namespace {

bool is_answered(c10d::Code code) {
  switch (code) {
    case c10d::Code::kValidate:
    case c10d::Code::kSet:
    case c10d::Code::kAppend:
    case c10d::Code::kMultiSet:
    case c10d::Code::kQueuePush:
      return false;
    default:
      return true;
  }
}

}  // namespace

void C10dConnection::put(c10d::Code code, const std::vector<Bytes>& strings, int64_t number) {
  c10d::put_request(out_, code, strings, number);
  if (is_answered(code)) ++owed_;
}

C10dConnection::Outcome C10dConnection::read(c10d::ReplyDecoder& decoder, c10d::Reply& reply,
                                             const Deadline& deadline) {
  in_.erase(0, in_begin_);
  in_begin_ = 0;
  // What comes in a stream without a pause must not keep the caller's signals waiting.
  Instant next_check = now() + kInterruptSlice;
  for (;;) {
    c10d::Progress progress = decoder.next(in_, reply, in_begin_);
    if (progress == c10d::Progress::kRequest) {
      owed_ -= decoder.expects_echo() ? 2 : 1;
      return Outcome::kDone;
    }
    if (progress == c10d::Progress::kInvalid) {
      lost_ = true;
      return Outcome::kInvalid;
    }
    if (lost_ || !flush()) return Outcome::kLost;
    size_t size_before = in_.size();
    if (!receive()) return Outcome::kLost;
    if (in_.size() > size_before && now() < next_check) continue;
    if (deadline.passed()) return Outcome::kTimedOut;
    Ready ready =
        wait_ready(fd_.get(), true, !out_.empty(), std::min(deadline.left(), kInterruptSlice));
    if ((!ready.readable && !ready.writable) || now() >= next_check) {
      throw_if_interrupted();
      next_check = now() + kInterruptSlice;
    }
  }
}

bool C10dConnection::idle() const {
  return !lost_ && owed_ == 0 && out_.empty() && in_begin_ == in_.size() &&
         !wait_ready(fd_.get(), true, false, Duration::zero()).readable;
}

bool C10dConnection::shows_life() {
  if (!lost_ && !out_.empty()) flush();
  size_t untaken = untaken_bytes(fd_.get());
  bool takes = untaken < untaken_;
  untaken_ = untaken;
  return (takes && (untaken > 0 || !out_.empty())) || in_begin_ < in_.size() ||
         wait_ready(fd_.get(), true, false, Duration::zero()).readable;
}

std::string C10dConnection::local_address() const {
  return SocketAddress::local_of(fd_.get()).host();
}

void C10dConnection::shut_down() {
  ::shutdown(fd_.get(), SHUT_RDWR);
}

bool C10dConnection::flush() {
  while (out_begin_ < out_.size()) {
    long count = send_some(fd_.get(), Bytes(out_).substr(out_begin_));
    if (count == kBroken) return lose();
    if (count == kWouldBlock) return true;
    sent_ = true;
    out_begin_ += static_cast<size_t>(count);
  }
  out_.clear();
  out_begin_ = 0;
  constexpr size_t kBytesKept = 1024 * 1024;
  if (out_.capacity() > kBytesKept) out_.shrink_to_fit();
  return true;
}

bool C10dConnection::receive() {
  long count = receive_some(fd_.get(), buffer_.data(), buffer_.size());
  if (count == kBroken) return lose();
  if (count > 0) in_.append(buffer_.data(), static_cast<size_t>(count));
  return true;
}

bool C10dConnection::lose() {
  lost_ = true;
  lost_text_ = errno == 0 ? "the server closed it" : errno_text(errno);
  return false;
}

}  // namespace rdzv
