#include "client/signs_of_life.h"

#include <sys/socket.h>

#include "net/socket.h"

namespace rdzv {

bool SignsOfLife::seen_since(Instant instant, ClientCore& core, int fd, bool may_peek) {
  if (core.state() != ClientCore::State::kOpen) return false;
  const size_t untaken = untaken_bytes(fd);
  if (untaken < untaken_) core.on_taken(now());
  untaken_ = untaken;
  if (core.heard_at() > instant) return true;
  if (core.taken_at() > instant && (untaken > 0 || !core.to_send().empty())) return true;
  char byte;
  return may_peek && ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

}  // namespace rdzv
