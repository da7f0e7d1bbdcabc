// A connection to a native server as threads that block share it: what it says and means is
// ClientCore's matter, the socket, the waiting and the locks are this class's. There is no thread of
// its own: of the callers that wait for an answer, one reads the socket and hands out what it finds;
// when its own answer is there, another takes over. So a lone caller pays no thread switch, and a
// blocked call holds up nobody.
//
// Nobody keeps the reader's place, or a lock, while signal handlers run: a handler may call this
// very channel, and other threads go on reading it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "client/core.h"
#include "client/session.h"
#include "client/signs_of_life.h"
#include "net/process_fd.h"
#include "tls/session.h"

namespace rdzv {

class Channel {
 public:
  using Reply = ClientCore::Reply;
  using Outcome = ClientCore::Outcome;

  // `core` was greeted on that socket, by TLS if there is a session.
  Channel(UniqueFd fd, ClientCore core, std::unique_ptr<tls::Session> session = nullptr);

  // What a caller asks for: that no answer comes may be for others' sake.
  struct Question {
    native::Operation operation{};
    Bytes body;
    bool waits_for_others = false;
  };
  // Asks and waits for the answer. Throws kInterrupted only. `on_silent` is called, without a lock,
  // when the connection is silent (ClientCore::run_due), whoever's call shows it.
  Reply call(const Question& question, const Deadline& deadline,
             const std::function<void()>& on_silent);

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

  // It is the session's connection from now on, or no longer.
  void enter(ClientSession& session);
  void leave(ClientSession& session);

 private:
  struct Call;
  class Reading;

  // Both: for a slice of time at most.
  void wait_as_reader(Lock& lock, Call& call, const Deadline& deadline);
  void wait_as_follower(Lock& lock, Call& call, const Deadline& deadline);
  void look_once_more(Lock& lock, const Call& call);
  void pass_reading_on();
  void give_up(Call& call);
  bool has_fallen_silent();
  bool alive_since_locked(Instant instant);
  // `wait`: up to kInterruptSlice. Whether it read something.
  bool read_some(Lock& lock, bool wait);
  void take(Bytes received);
  void flush();
  bool flush_secured();
  bool has_unsent() const;
  void end_sending();
  void break_off(const std::string& why);

  ProcessFd fd_;
  std::vector<char> buffer_;  // only the reader touches it

  Mutex mutex_;  // protects all below
  ClientCore core_;
  std::unique_ptr<tls::Session> session_;  // none: plain bytes
  std::string plain_;                      // what it said last
  bool reading_ = false;
  std::vector<Call*> asleep_;  // the others look by themselves, or run a signal's handler
  SignsOfLife signs_;
};

}  // namespace rdzv
