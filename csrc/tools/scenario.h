// The scenarios of the load driver, one function each: runs it against the server and reports.
// Throws Error; what single requests met is counted in the report. Each plays the ranks of its part
// and meets the other parts between its phases.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "base/clock.h"
#include "tools/options.h"
#include "tools/part.h"
#include "tools/report.h"
#include "tools/swarm.h"

namespace rdzv::tools {

void run_ops(const Options& options, Part& part, Report& report);
void run_start(const Options& options, Part& part, Report& report);
void run_idle(const Options& options, Part& part, Report& report);
void run_keys(const Options& options, Part& part, Report& report);
void run_barrier(const Options& options, Part& part, Report& report);
void run_exchange(const Options& options, Part& part, Report& report);
void run_ids(const Options& options, Part& part, Report& report);
void run_multi_set(const Options& options, Part& part, Report& report);
void run_rendezvous(const Options& options, Part& part, Report& report);
void run_keepalive(const Options& options, Part& part, Report& report);

// A moment of a run, to take differences of.
struct Mark {
  Instant at{};
  double server_cpu_s = 0;
  double own_cpu_s = 0;
};
Mark mark(const Options& options);

// seconds, and, where the server's process is known, its CPU time: in all and for each of `count`,
// which is this part's.
void report_span(Report& report, const Options& options, const Mark& begin, const Mark& end,
                 uint64_t count, const std::string& each);

// What the scenarios have in common: this part's connections, and ways to ask on them.
class Scenario : public Player {
 public:
  Scenario(const Options& options, Part& part)
      : options_(options),
        part_(part),
        protocol_(Protocol::make(options.wire)),
        swarm_(options, part, *protocol_, *this),
        deadline_(Deadline::after(from_seconds(options.timeout_s))),
        value_(options.value_bytes, 'x') {}

  void connected(Connection&) override {}
  void answered(Connection&, const Asked&, const Answer&) override {}

 protected:
  // Opens all connections, before anybody asks anything.
  void connect_all();
  // `put` appends the request, and says whether it will be answered, where that is not sure.
  template <typename Put>
  void ask(Connection& connection, Ask what, Put&& put) {
    const size_t begin = connection.out.size();
    if constexpr (std::is_void_v<decltype(put(connection.out))>) {
      put(connection.out);
    } else if (!put(connection.out)) {
      return;
    }
    swarm_.asked(connection, what, begin);
  }
  // Out of turn: `asks` asks on the connection.
  template <typename Asks>
  void start(Connection& connection, Asks&& asks) {
    swarm_.begin_turn();
    asks();
    swarm_.flush(connection);
  }
  bool failed() const { return swarm_.errors() > 0; }
  // Until all ranks have called finished(), and what they were sent has arrived: values are still
  // to come when an answer begins.
  void run_until_finished();
  void finished() { ++finished_; }
  // What `bytes_before` was of the server's memory, and what it is now, for each of `count`.
  void report_memory(Report& report, const std::string& each, double bytes_before, size_t count);
  void report_swarm(Report& report) const;

  const Options& options_;
  Part& part_;
  const std::unique_ptr<Protocol> protocol_;
  Swarm swarm_;
  const Deadline deadline_;
  const std::string value_;

 private:
  uint64_t finished_ = 0;
};

}  // namespace rdzv::tools
