// The server without what carries bytes and without a clock: it takes bytes of connections, times
// and closings, and says through each connection's Transport what is to be sent and what is over,
// and when it has to be looked at again. The same calls with the same arguments do the same. Server
// drives it from its loop; a test, in memory. One thread at a time.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/hash.h"
#include "server/connection.h"
#include "server/context.h"
#include "server/limits.h"
#include "server/report.h"
#include "server/run_report.h"
#include "server/transport.h"
#include "wire/native.h"

namespace rdzv {

class ServerCore {
 public:
  // `name` is for log lines. `seed`: nobody who chooses keys may know it. `instance` is another one
  // whenever a server begins without what the last one knew. `of_one_job`: see native::kOfOneJob.
  ServerCore(const ServerLimits& limits, std::string name, HashSeed seed,
             const native::Id128& instance, bool of_one_job = false)
      : commons_(limits, std::move(name), seed, instance, of_one_job) {}

  // A newcomer. The connection is there until its transport's close() was called, and then until
  // the end of the turn.
  Connection& connect(Transport& transport, const Moment& time);
  // The peer has proved who it is, and has not said anything yet.
  void identify(Connection& connection, const tls::Identity& identity, const Moment& time);
  // It may not speak, and is closed: why.
  void refuse(Connection& connection, const std::string& why, const Moment& time);
  // The same of one that has no connection yet: for the audit.
  void refuse(const std::string& peer, const std::string& why, const Moment& time);
  // What the peer has sent. Of a connection that does not want it yet (Connection::wants_input),
  // nothing may come.
  void receive(Connection& connection, Bytes received, const Moment& time);
  void end_of_stream(Connection& connection, const Moment& time);
  // The transport takes more, after it took nothing.
  void resume_sending(Connection& connection, const Moment& time);
  // It is over; `why` is empty when the peer just left, and otherwise logged.
  void close(Connection& connection, const std::string& why, const Moment& time);
  void on_refused(Connection& connection, int error, const Moment& time);

  // After all that came together: sends, and goes on with what was too much for one turn. True:
  // there is more of it.
  bool end_turn(const Moment& time);

  // When run_due() has something to do, by both clocks of a Moment. Timers::kNever: never.
  Instant next() const { return commons_.clock.timers.next(); }
  Instant next_awake() const { return commons_.clock.awake_timers.next(); }
  // All that came before `until` was handled; it is `time` now.
  void run_due(const Moment& until, const Moment& time);

  // What name spaces may use from now on, where it is not what the limits say.
  void set_quotas(const tls::Quotas& quotas) { commons_.spaces.set_quotas(quotas); }
  // Whether one was refused something for that, since the last call.
  bool take_quota_missed() { return commons_.spaces.take_quota_missed(); }

  // What it keeps in the default name space, and who is told of every change of that from now on.
  const ServerState& state() { return commons_.home().state; }
  void keep_journal(Journal* journal) { commons_.home().state.keep_journal(journal); }

  // What `find` makes of what is in it, and must not change: see report.h and run_report.h.
  template <typename Find>
  auto look(const Moment& time, Find&& find) {
    commons_.clock.set(time);
    return find(commons_);
  }
  // A clock for measurements alone, on which nothing depends.
  void measure_by(CountedRequest::Clock clock) { commons_.records.stopwatch = clock; }
  // How many connections are open.
  ServerMemory& memory() { return commons_.memory; }
  size_t connections() const { return commons_.connections.open.size(); }
  const ServerLimits& limits() const { return commons_.limits; }
  const std::string& name() const { return commons_.name; }

 private:
  void begin(const Moment& time);

  ServerCommons commons_;
  std::optional<Instant> turn_began_;
};

}  // namespace rdzv
