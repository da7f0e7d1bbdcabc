// Gets a connection to a server: names, addresses, retries, a greeting. One budget of time covers
// it all, so a client may start minutes before its server. Knows no protocol: the greeting is the
// caller's. Runs on the thread that calls.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mutex.h"
#include "client/greeting.h"

namespace rdzv {

// Greets the peer of a fresh connection. False: the peer closed it without an answer. Throws kLimit
// where the peer is full: it is asked again, as room may come.
using Greet = std::function<bool(Greeting&)>;

// How far a dial has come; threads that wait for another's look at it.
class DialProgress {
 public:
  // Each: one attempt more. `is_over`: so is the time, which may just have cut it off: the attempt
  // before it knew more.
  void note_failure(const std::string& error, bool is_over);
  void note_connected();
  // The attempt that has connected: the server is full, and says so.
  void note_full(const std::string& error);

  // Whether an attempt has failed.
  bool has_failed();

  // What whoever waited so long in vain is told. Throws kNoAnswer if a peer has accepted and keeps
  // silent, else kConnection (endpoint, attempts, last error, what to do). What a full server has
  // said is told in any case.
  [[noreturn]] void throw_out_of_time(const std::string& endpoint, Duration waited);

 private:
  Mutex mutex_;  // protects all below
  int attempts_ = 0;
  bool is_greeting_ = false;
  std::string last_error_;
  std::string full_;  // the last that a full server has said
};

// Tries every address of the name, again and again with jittered pauses, until the deadline. Throws
// as DialProgress does, kProtocol for a peer that is not a rendezvous store, kInvalidArgument.
// `cancelled`, asked every kInterruptSlice, ends it like the deadline.
UniqueFd dial(const std::string& host, uint16_t port, const Deadline& deadline,
              const Cancelled& cancelled, const Greet& greet, DialProgress& progress);

}  // namespace rdzv
