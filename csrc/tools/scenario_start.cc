// The start of a job, as launchers do it with a store: every rank connects, publishes its address,
// joins a counter, and waits for the last one. Also: connections that do nothing.
#include "tools/process.h"
#include "tools/scenario.h"

namespace rdzv::tools {
namespace {

class Start final : public Player {
 public:
  explicit Start(const Options& options)
      : options_(options),
        protocol_(Protocol::make(options.wire)),
        swarm_(options, *protocol_, *this),
        prefix_(unique_prefix("start")),
        value_(options.value_bytes, 'x') {}

  void run(Report& report) {
    Mark begin = mark(options_);
    swarm_.dial_all();
    swarm_.run([&] { return finished_ + swarm_.errors() >= options_.connections; },
               Deadline::after(from_seconds(options_.timeout_s)));
    Mark end = mark(options_);
    report.add("ranks", uint64_t{options_.connections});
    report_span(report, options_, begin, end, options_.connections, "rank");
    report.add("connected_s", to_seconds(connected_at_ - begin.at));
    report.add("joined_s", to_seconds(joined_at_ - begin.at));
    report.add("handshake_us", handshakes_);
    report.add("release_us", releases_);
    report_swarm(report, swarm_);
  }

  void connected(Connection& connection) override {
    connected_at_ = swarm_.turn_began();
    handshakes_.add(connected_at_ - connection.dialed);
    std::string own = prefix_ + std::to_string(connection.index);
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
      if (answer.number == static_cast<int64_t>(options_.connections)) release(connection);
      size_t begin = connection.out.size();
      protocol_->put_wait(connection.out, prefix_ + "go");
      swarm_.asked(connection, Ask::kWait, begin);
    } else if (asked.ask == Ask::kWait) {
      releases_.add(swarm_.turn_began() - joined_at_);
      size_t begin = connection.out.size();
      protocol_->put_get(connection.out, prefix_ + "0");
      swarm_.asked(connection, Ask::kGet, begin);
    } else if (asked.ask == Ask::kGet) {
      ++finished_;
    }
  }

 private:
  void release(Connection& connection) {
    size_t begin = connection.out.size();
    if (protocol_->put_release(connection.out, prefix_ + "go"))
      swarm_.asked(connection, Ask::kRelease, begin);
  }

  const Options& options_;
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
  explicit Idle(const Options& options)
      : options_(options),
        protocol_(Protocol::make(options.wire)),
        swarm_(options, *protocol_, *this) {}

  void run(Report& report) {
    double before = anonymous_bytes_of(options_.server_pid);
    Mark begin = mark(options_);
    swarm_.dial_all();
    swarm_.run([&] { return swarm_.connected() + swarm_.errors() >= options_.connections; },
               Deadline::after(from_seconds(options_.timeout_s)));
    Mark end = mark(options_);
    report.add("connections", uint64_t{options_.connections});
    report_span(report, options_, begin, end, options_.connections, "connection");
    if (options_.server_pid != 0) {
      double bytes = anonymous_bytes_of(options_.server_pid) - before;
      report.add("server_bytes_per_connection", bytes / static_cast<double>(options_.connections));
    }
    report.add("handshake_us", handshakes_);
    report_swarm(report, swarm_);
  }

  void connected(Connection& connection) override {
    handshakes_.add(swarm_.turn_began() - connection.dialed);
  }
  void answered(Connection&, const Asked&, const Answer&) override {}

 private:
  const Options& options_;
  std::unique_ptr<Protocol> protocol_;
  Swarm swarm_;
  Times handshakes_;
};

}  // namespace

void run_start(const Options& options, Report& report) {
  Start(options).run(report);
}

void run_idle(const Options& options, Report& report) {
  Idle(options).run(report);
}

}  // namespace rdzv::tools
