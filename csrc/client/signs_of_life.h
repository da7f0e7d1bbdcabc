// Whether the peer of a socket has shown that it is there: bytes came, or its end takes what is
// being sent. For whoever drives a ClientCore over a socket, who protects it.
#pragma once

#include <cstddef>

#include "base/clock.h"
#include "client/core.h"

namespace rdzv {

class SignsOfLife {
 public:
  // Since then. That it took the last of what was sent says nothing: the kernel of a stopped server
  // does so. `may_peek`: nobody else reads the socket.
  bool seen_since(Instant instant, ClientCore& core, int fd, bool may_peek);

 private:
  size_t untaken_ = 0;  // bytes of ours that the peer's end had not taken
};

}  // namespace rdzv
