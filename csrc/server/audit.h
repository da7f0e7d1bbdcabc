// One structured log record for each refusal, and for each thing that an admin does: what happened,
// from where, in which name space, by which token, and why.
//
//   audit event=refused peer="10.0.0.7:4000" space="a" role="reader" key="6f0c..." what="set" why="..."
//
// Whoever causes very many does not fill the log: so many a second are written, and then how many
// were not. One thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/timers.h"

namespace rdzv {

class Connection;
struct ServerCommons;

class Audit {
 public:
  static constexpr uint64_t kRecordsASecond = 50;

  explicit Audit(ServerCommons& commons) : commons_(commons) {}

  // `what` was asked for: an operation, or "connection".
  void refused(const Connection& connection, Bytes what, const std::string& why);
  // One that is let go before it has a connection.
  void refused(const std::string& peer, const std::string& why);
  void done_by_admin(const Connection& connection, Bytes what);

 private:
  void write(LogLevel level, const char* event, const Connection& connection, Bytes what,
             const std::string& why);
  bool may_write();
  void begin_window();

  ServerCommons& commons_;
  Instant window_ends_{};
  uint64_t written_ = 0;  // in this window
  uint64_t left_out_ = 0;
  std::optional<Timers::Id> timer_;  // while some were left out
};

}  // namespace rdzv
