// The connection of a NativeStore: made when it is first needed, and made anew when it breaks or
// falls silent. Knows no operation.
//
// It is dialled on a thread of its own, one dial at a time, while those who need it wait: so no
// caller has the dialler's role, a signal's handler may call the store that it interrupts, and who
// gives up early ends nobody else's attempt. The thread ends with the line, or by its deadline.
//
// A connection on which no byte came in time is suspected: a new one is made while it is asked for
// a sign of life. If it gives one, it stays; if the server answers on the new one alone, that takes
// its place, and what was in flight on the old one has an unknown outcome. A server that is stopped
// answers on neither: then nothing is replaced, and there is one more connection, not many.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "client/channel.h"
#include "tls/keeper.h"

namespace rdzv {

class NativeLine {
 public:
  // `name`: what messages call the store. `keeper`: of what it proves itself by; none: plain bytes.
  NativeLine(std::string host, uint16_t port, std::string name,
             std::shared_ptr<tls::Keeper> keeper = nullptr);
  // Any dial ends by itself.
  ~NativeLine();
  NativeLine(const NativeLine&) = delete;
  NativeLine& operator=(const NativeLine&) = delete;

  // What a call knows of the server: how often it was another one when the call began.
  using Known = std::optional<uint64_t>;
  // The connection, waited for. None: it is suspected, and by the deadline nothing was found out.
  // Throws what dial() throws, kClosed, kInterrupted; kRestarted to every call that began when the
  // server was another one.
  std::shared_ptr<Channel> channel(const Deadline& deadline, Known& known);
  // No byte came on it for `silent`, though an answer was due.
  void suspect(const std::shared_ptr<Channel>& channel, Duration silent);
  std::string observed_address() const;
  bool is_of_one_job() const;
  // For good. `is_own_process`: a forked child shares the connection with its parent, and only lets
  // go of it.
  void close(bool is_own_process);
  bool is_closed() const;

 private:
  struct Dialling;
  struct State;

  static void start(const std::shared_ptr<State>& state, std::shared_ptr<Dialling> dialling);
  static void run(const std::shared_ptr<State>& state, const std::shared_ptr<Dialling>& dialling);

  // Shared with the thread that dials, which may outlive the line.
  std::shared_ptr<State> state_;
};

}  // namespace rdzv
