// The start of a job, as launchers do it with a store: every rank connects, publishes its address,
// joins a counter, and waits for the last one. Also: connections that do nothing.
#include "tools/process.h"
#include "tools/scenario.h"

namespace rdzv::tools {
namespace {

class Start final : public Player {
 public:
  Start(const Options& options, Part& part)
      : options_(options),
        part_(part),
        protocol_(Protocol::make(options.wire)),
        swarm_(options, part, *protocol_, *this),
        prefix_(part.prefix("start")),
        value_(options.value_bytes, 'x') {}

  void run(Report& report) {
    part_.meet();
    Mark begin = mark(options_);
    swarm_.dial_all();
    swarm_.run([&] { return finished_ + swarm_.errors() >= options_.connections; },
               Deadline::after(from_seconds(options_.timeout_s)));
    Mark end = mark(options_);
    // Hanging up is work for the server, and no part of a start.
    part_.meet();
    report.add("ranks", uint64_t{part_.world_size()});
    report_span(report, options_, begin, end, options_.connections, "rank");
    report.add("connected_s", Quantity::span(begin.at, connected_at_));
    report.add("joined_s", Quantity::span(begin.at, joined_at_));
    report.add("handshake_us", handshakes_);
    report.add("release_us", releases_);
    report_swarm(report, swarm_);
  }

  void connected(Connection& connection) override {
    connected_at_ = swarm_.turn_began();
    handshakes_.add(connected_at_ - connection.dialed);
    std::string own = prefix_ + std::to_string(part_.first() + connection.index);
    size_t begin = connection.out.size();
    if (protocol_->put_set(connection.out, own, value_, false))
      swarm_.asked(connection, Ask::kSet, begin);
    begin = connection.out.size();
    protocol_->put_add(connection.out, prefix_ + "joined");
    swarm_.asked(connection, Ask::kAdd, begin);
  }

  void answered(Connection& connection, const Asked& asked, const Answer& answer) override {
    if (asked.ask == Ask::kAdd) {
      joined_at_ = swarm_.turn_began();
      if (answer.number == static_cast<int64_t>(part_.world_size())) release(connection);
      size_t begin = connection.out.size();
      protocol_->put_wait(connection.out, prefix_ + "go");
      swarm_.asked(connection, Ask::kWait, begin);
    } else if (asked.ask == Ask::kWait) {
      releases_.add(swarm_.turn_began() - part_.moment());
      size_t begin = connection.out.size();
      protocol_->put_get(connection.out, prefix_ + "0");
      swarm_.asked(connection, Ask::kGet, begin);
    } else if (asked.ask == Ask::kGet) {
      ++finished_;
    }
  }

 private:
  void release(Connection& connection) {
    part_.set_moment(joined_at_);
    size_t begin = connection.out.size();
    if (protocol_->put_release(connection.out, prefix_ + "go"))
      swarm_.asked(connection, Ask::kRelease, begin);
  }

  const Options& options_;
  Part& part_;
  std::unique_ptr<Protocol> protocol_;
  Swarm swarm_;
  std::string prefix_;
  std::string value_;
  Times handshakes_;
  Times releases_;
  Instant connected_at_{};
  Instant joined_at_{};
  uint64_t finished_ = 0;
};

class Idle final : public Player {
 public:
  Idle(const Options& options, Part& part)
      : options_(options),
        part_(part),
        protocol_(Protocol::make(options.wire)),
        swarm_(options, part, *protocol_, *this) {}

  void run(Report& report) {
    part_.meet();
    double before = anonymous_bytes_of(options_.server_pid);
    Mark begin = mark(options_);
    swarm_.dial_all();
    swarm_.run([&] { return swarm_.connected() + swarm_.errors() >= options_.connections; },
               Deadline::after(from_seconds(options_.timeout_s)));
    Mark end = mark(options_);
    part_.meet();
    report.add("connections", uint64_t{part_.world_size()});
    report_span(report, options_, begin, end, options_.connections, "connection");
    if (options_.server_pid != 0) {
      Quantity bytes = Quantity::span(before, anonymous_bytes_of(options_.server_pid));
      Quantity all = Quantity::same(static_cast<double>(part_.world_size()));
      report.add_ratio("server_bytes_per_connection", bytes, all);
    }
    // Nobody hangs up before all have looked.
    part_.meet();
    report.add("handshake_us", handshakes_);
    report_swarm(report, swarm_);
  }

  void connected(Connection& connection) override {
    handshakes_.add(swarm_.turn_began() - connection.dialed);
  }
  void answered(Connection&, const Asked&, const Answer&) override {}

 private:
  const Options& options_;
  Part& part_;
  std::unique_ptr<Protocol> protocol_;
  Swarm swarm_;
  Times handshakes_;
};

}  // namespace

void run_start(const Options& options, Part& part, Report& report) {
  Start(options, part).run(report);
}

void run_idle(const Options& options, Part& part, Report& report) {
  Idle(options, part).run(report);
}

}  // namespace rdzv::tools
