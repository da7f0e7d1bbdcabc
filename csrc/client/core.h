// One connection of a native client without what carries its bytes and without a clock: it takes
// what was received, times, and the connection's end; it says what is to be sent, which calls are
// over, and when it has to be looked at again. The same calls with the same arguments do the same.
// Channel drives it from threads that block; an event loop, a relay or a simulator may as well. One
// thread at a time.
//
//   kGreeting --HELLO is answered--> kOpen --end_sending--> kEnding --break_off--> kBroken
//       '--refused, or break_off--> kBroken <--break_off--'
//
// A call that runs out of time is forgotten: its frame is withdrawn if none of it was sent, and a
// late answer is dropped by its id, so that the connection stays usable. The item of a QUEUE_POP that
// nobody waits for any more goes back, to the end of its queue.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/timers.h"
#include "wire/native.h"

namespace rdzv {

class ClientCore {
 public:
  enum class State : uint8_t {
    kGreeting,  // only HELLO is sent
    kOpen,
    kEnding,  // nothing can be sent any more; what the peer has said by then still counts
    kBroken,
  };
  enum class Outcome : uint8_t {
    kPending,
    kAnswered,
    kTimedOut,  // no answer in time
    kBroken,    // the connection is gone
  };
  struct Reply {
    Outcome outcome = Outcome::kPending;
    bool sent = true;  // unless answered: whether any byte left, else it was surely not applied
    ErrorCode status = ErrorCode::kOk;
    std::string body;
    size_t body_begin = 0;  // of a large one, that it need not be moved
  };

  // A request in flight and what became of it. Its owner keeps it until it is over or given up.
  class Call {
   public:
    explicit Call(native::Operation called) : operation(called) {}
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    virtual ~Call() = default;

    bool is_over() const { return reply.outcome != Outcome::kPending; }
    // It may be given up and sent again by then, and must not call the core before it returns.
    virtual void on_over() {}

    const native::Operation operation;
    bool waits_for_others = false;      // that it is not answered says nothing about the peer
    Instant deadline = Timers::kNever;  // run_due() gives it up then
    Reply reply;

   private:
    friend class ClientCore;
    uint64_t id_ = 0;
    std::string queue_;  // of a QUEUE_POP: the key, as in the request
  };

  struct Peer {
    native::Id128 instance{};
    std::string observed_address;  // of this client, as the server sees it
    bool is_of_one_job = false;    // see native::kOfOneJob
  };
  // How it ended, or was refused: kLimit, of a greeting: the server is full, and may have room later.
  struct Break {
    ErrorCode code = ErrorCode::kConnection;
    std::string why;
  };

  // `client`: who it is, for the server's log.
  // `space`: the name space that it asks for; empty: that of its token.
  ClientCore(const native::Id128& session, Bytes client, Bytes space = {});

  State state() const { return state_; }
  const Peer& peer() const { return peer_; }       // once greeted
  const Break& broken() const { return broken_; }  // once it ends

  // The next bytes for the peer, not all of them; and how many of these it took.
  Bytes to_send() const;
  void on_sent(size_t count, Instant now);
  // The same of several requests together: appended to `out`, until that has `bytes_max`.
  void gather(std::string& out, size_t bytes_max) const;
  size_t unsent_bytes() const { return hello_.size() + outgoing_bytes_; }
  void receive(Bytes received, Instant now);
  // The peer takes no more, or the connection is over: calls of which nothing was sent are over; all
  // of them. The first reason stays.
  void end_sending(const std::string& why);
  void break_off(const std::string& why, ErrorCode code = ErrorCode::kConnection);

  // `body` is copied.
  void send(Call& call, Bytes body, Instant now);
  // Nobody waits for it any more, or takes what it was answered.
  void give_up(Call& call);
  size_t in_flight() const { return calls_.size(); }

  // When run_due() has something to do. Timers::kNever: never.
  Instant next() const;
  // Gives up what is out of time. True: the connection is silent, as no byte came or went on it
  // since a call that should have been answered long ago was sent. Said once a call.
  bool run_due(Instant now);

  // Asks the peer for a byte, so that its silence means something.
  void probe();
  // The peer's end took bytes that were sent before.
  void on_taken(Instant now) { taken_at_ = now; }
  Instant heard_at() const { return heard_at_; }
  Instant taken_at() const { return taken_at_; }

  // Ids grow over all connections of a session.
  uint64_t last_id() const { return last_id_; }
  void continue_after(uint64_t id) { last_id_ = std::max(last_id_, id); }

 private:
  struct Outgoing {
    uint64_t id;
    std::string bytes;
    size_t sent = 0;
  };
  // A pop that was given up. The PING behind its CANCEL is answered when no item comes any more.
  struct GivenUpPop {
    uint64_t id;
    uint64_t ping;
    std::string queue;  // as in the request
  };

  bool can_send() const { return state_ <= State::kOpen; }
  size_t take_frames(Bytes in);
  void on_greeting(const native::Frame& frame);
  void on_reply(const native::Frame& frame);
  void give_body(Call& call, Bytes body);
  void make_room();
  void post(native::Operation operation, uint64_t id, Bytes body);
  std::deque<Outgoing>::iterator unsent_frame(uint64_t id);
  void finish(Call& call, Outcome outcome);
  void fail_unsent();
  void send_cancel(uint64_t id);
  void on_late(const native::Frame& frame);
  void put_back(Bytes queue, Bytes item);
  Instant silent_at() const;

  State state_ = State::kGreeting;
  std::string hello_;  // what is left of it to be sent
  Peer peer_;
  Break broken_;
  std::string in_;  // the beginning of a frame that is not whole yet
  Instant heard_at_{};
  Instant taken_at_{};
  uint64_t last_id_ = 0;
  std::deque<Outgoing> outgoing_;  // by id
  size_t outgoing_bytes_ = 0;      // of these, unsent
  std::map<uint64_t, Call*> calls_;
  std::set<std::pair<Instant, uint64_t>> deadlines_;
  // Calls that should be answered at once, and when they were sent. Some may be over.
  std::deque<std::pair<uint64_t, Instant>> prompt_;
  std::vector<GivenUpPop> given_up_pops_;
};

}  // namespace rdzv
