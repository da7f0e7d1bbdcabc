#include "server/secure_line.h"

#include <algorithm>

#include "net/socket.h"

namespace rdzv {
namespace {

// What is encrypted ahead of the socket.
constexpr size_t kAheadMax = 4 * tls::kRecordBytesMax;

// What comes after `offset`, in one piece and up to kAheadMax.
Bytes next_of(std::span<const Bytes> pieces, size_t offset, std::string& joined) {
  joined.clear();
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (offset >= pieces[i].size()) {
      offset -= pieces[i].size();
      continue;
    }
    const Bytes left = pieces[i].substr(offset);
    offset = 0;
    // A large one is taken from where it is.
    if (joined.empty() && (left.size() >= tls::kRecordBytesMax || i + 1 == pieces.size()))
      return left.substr(0, kAheadMax);
    joined += left.substr(0, tls::kRecordBytesMax - joined.size());
    if (joined.size() == tls::kRecordBytesMax) break;
  }
  return joined;
}

}  // namespace

std::optional<size_t> SecureLine::send(int fd, std::span<const Bytes> pieces, std::string& joined) {
  size_t all = 0;
  for (const Bytes piece : pieces) all += piece.size();
  size_t taken = 0;
  for (;;) {
    if (!flush(fd)) return std::nullopt;
    if (has_unsent()) return taken;
    const size_t left_now = std::min(ahead_, all - taken);
    taken += left_now;
    ahead_ -= left_now;
    if (taken == all || !session_->is_open()) return taken;
    const Bytes next = next_of(pieces, taken, joined);
    session_->send(next);
    ahead_ = next.size();
  }
}

bool SecureLine::flush(int fd) {
  for (Bytes out = session_->to_send(); !out.empty(); out = session_->to_send()) {
    const long sent = send_some(fd, out);
    if (sent == kBroken) return false;
    if (sent == kWouldBlock) return true;
    session_->on_sent(static_cast<size_t>(sent));
  }
  return true;
}

void SecureLine::end(int fd) {
  session_->end();
  flush(fd);
}

}  // namespace rdzv
