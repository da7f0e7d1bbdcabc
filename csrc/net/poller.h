// Which descriptors are ready: epoll on Linux, poll(2) elsewhere (or with -DRDZV_USE_POLL, so that
// Linux can test it). One thread owns a poller. It knows nothing of what the tags point to.
//
// What the system may refuse: epoll_create1 (no descriptor, no memory) throws; taking a descriptor
// or a new interest (ENOSPC: fs.epoll.max_user_watches; ENOMEM) gives the errno to the caller, who
// lets the descriptor go; a wait that fails for want of memory is a short sleep without events. All
// else (EBADF, EINVAL) is a mistake of ours and ends the process.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"

namespace rdzv {

// As poll and epoll take it: whole milliseconds, rounded up, so that nobody wakes before the time.
int poll_timeout_ms(Duration timeout);

enum class Interest : uint8_t { kNone = 0, kRead = 1, kWrite = 2, kBoth = 3 };

constexpr bool wants(Interest interest, Interest part) {
  return (static_cast<uint8_t>(interest) & static_cast<uint8_t>(part)) != 0;
}

// When a descriptor is reported.
enum class Trigger : uint8_t {
  kReady,  // in every wait() while it is ready
  kEvent,  // perhaps only in the wait() after it became ready, or after modify(): that spares the
           // kernel a second look at what its reader has emptied
};

class Poller {
 public:
  struct Event {
    void* tag;
    bool readable;  // also set when the descriptor is broken, so that the reader finds out why
    bool writable;
    bool ended;  // behind what can be read comes its end, which is not reported again
  };

  static std::unique_ptr<Poller> make();
  virtual ~Poller() = default;

  // 0, or the errno with which the system refused.
  virtual int add(int fd, Interest interest, Trigger trigger, void* tag) = 0;
  virtual int modify(int fd, Interest interest, Trigger trigger, void* tag) = 0;
  virtual void remove(int fd) = 0;

  // What a wait tells besides its events.
  enum class Seen : uint8_t {
    kAll,          // all that was ready is among the events
    kSome,         // there may be more
    kInterrupted,  // it ended without a look: the process was stopped and goes on, or traced
  };
  // Replaces `events` by what is ready; waits up to `timeout` if nothing is.
  virtual Seen wait(Duration timeout, std::vector<Event>& events) = 0;
};

}  // namespace rdzv
