// Whether the peer of a connection has shown that it is there: bytes came, or its end takes what is
// being sent. For whoever drives a ClientCore over a socket, who protects it and looks at the socket.
#pragma once

#include <cstddef>

#include "base/clock.h"
#include "client/core.h"

namespace rdzv {

class SignsOfLife {
 public:
  // Since `instant`. `untaken`: how many bytes that were sent the peer's end has not taken, at
  // `now`. `bytes_are_there()`: whether some lie unread; it is asked only if nothing else says so.
  // That the peer took the last of what was sent says nothing: the kernel of a stopped server does
  // so.
  template <typename BytesAreThere>
  bool seen_since(Instant instant, ClientCore& core, size_t untaken, Instant now,
                  BytesAreThere&& bytes_are_there) {
    if (core.state() != ClientCore::State::kOpen) return false;
    if (untaken < untaken_) core.on_taken(now);
    untaken_ = untaken;
    if (core.heard_at() > instant) return true;
    if (core.taken_at() > instant && (untaken > 0 || !core.to_send().empty())) return true;
    return bytes_are_there();
  }

 private:
  size_t untaken_ = 0;
};

}  // namespace rdzv
