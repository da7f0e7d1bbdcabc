// One connection to a native server, shared by any number of threads. There is no thread of its
// own: of the callers that wait for an answer, one reads the socket and hands out what it finds;
// when its own answer is there, another takes over. So a lone caller pays no thread switch, and a
// blocked call holds up nobody.
//
// Nobody keeps the reader's place, or a lock, while signal handlers run: a handler may call this
// very channel, and other threads go on reading it.
//
// A call that runs out of time is forgotten: its frame is withdrawn if none of it was sent, and a
// late answer is dropped by its id, so that the channel stays usable. The item of a QUEUE_POP that
// nobody waits for any more goes back, to the end of its queue.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "net/process_fd.h"
#include "wire/native.h"

namespace rdzv {

class Channel {
 public:
  enum class Failure {
    kNone,
    kTimedOut,  // no answer in time; whether the request was applied is not known unless `sent` is
                // false
    kBroken,    // the connection is gone
  };
  struct Reply {
    Failure failure = Failure::kNone;
    bool sent = true;  // with a failure: whether any byte of the request left
    ErrorCode status = ErrorCode::kOk;
    std::string body;
    size_t body_begin = 0;  // of a large one, that it need not be moved
  };

  explicit Channel(UniqueFd fd);

  // What a caller does about silence, and when.
  struct Silence {
    Duration allowed = kForever;
    std::function<void()> act{};  // called once, without a lock
  };

  // Sends a request and waits for its answer. Throws kInterrupted only.
  Reply call(native::Operation operation, Bytes body, const Deadline& deadline,
             const Silence& silence);

  // Ends the connection and, with kBroken, all calls.
  void shut_down(const std::string& why);

  // Asks the server for a byte, so that its silence means something.
  void probe();
  // Whether the peer has shown since then that it is there: bytes came, or its end takes what is
  // being sent. That it took the last of it says nothing: the kernel of a stopped server does so.
  bool alive_since(Instant instant);

  // Whether the connection is known to be gone. Looks at the socket when nobody else reads it and
  // the server was not heard a moment ago.
  bool broken();
  // Why it is gone, for messages.
  std::string broken_text();

 private:
  static constexpr size_t kReadBytes = 64 * 1024;

  struct Call;
  class Reading;
  struct Outgoing {
    uint64_t id;
    std::string bytes;
    size_t sent = 0;
  };

  // Both: for a slice of time at most.
  void wait_as_reader(Lock& lock, Call& call, const Deadline& deadline);
  void wait_as_follower(Lock& lock, Call& call, const Deadline& deadline);
  void look_once_more(Lock& lock, const Call& call);
  void pass_reading_on();
  bool alive_since_locked(Instant instant);
  void post(native::Operation operation, uint64_t id, Bytes body);
  // `wait`: up to kInterruptSlice.
  enum class Read { kSomething, kNothing, kBroken };
  Read read_some(Lock& lock, bool wait);
  size_t hand_out(Bytes in);
  void give_body(Call& call, Bytes body);
  void make_room();
  void flush();
  void break_off(const std::string& why);
  Reply give_up(Call& call);
  void send_cancel(uint64_t id);
  void await_late_item(const Call& call);
  void on_late(const native::Frame& frame);
  void put_back(Bytes queue, Bytes item);

  ProcessFd fd_;
  // Only the reader touches these two.
  std::vector<char> buffer_ = std::vector<char>(kReadBytes);
  std::string in_;  // the beginning of a frame that is not whole yet

  Mutex mutex_;  // protects all below
  bool reading_ = false;
  bool broken_ = false;
  std::string broken_text_;
  Instant heard_at_{};
  Instant taken_at_{};  // when the peer's end had last taken bytes of ours
  size_t untaken_ = 0;  // bytes of ours that it had not
  uint64_t last_id_ = 0;
  std::deque<Outgoing> outgoing_;
  std::unordered_map<uint64_t, Call*> calls_;
  // A pop that was given up. The PING behind its CANCEL is answered when no item comes any more.
  struct GivenUpPop {
    uint64_t id;
    uint64_t ping;
    std::string queue;  // as in the request
  };
  std::vector<GivenUpPop> given_up_pops_;
};

}  // namespace rdzv
