// The start of a job, as launchers do it with a store: every rank connects, publishes its address,
// joins a counter, and waits for the last one. Also: connections that do nothing.
#include "tools/process.h"
#include "tools/scenario.h"

namespace rdzv::tools {
namespace {

class Start final : public Scenario {
 public:
  using Scenario::Scenario;

  void run(Report& report) {
    part_.meet();
    Mark begin = mark(options_);
    swarm_.dial_all();
    run_until_finished();
    Mark end = mark(options_);
    // Hanging up is work for the server, and no part of a start.
    part_.meet();
    report.add("ranks", uint64_t{part_.world_size()});
    report_span(report, options_, begin, end, options_.connections, "rank");
    report.add("connected_s", Quantity::span(begin.at, connected_at_));
    report.add("joined_s", Quantity::span(begin.at, joined_at_));
    report.add("handshake_us", handshakes_);
    report.add("release_us", releases_);
    report_swarm(report);
  }

  void connected(Connection& connection) override {
    connected_at_ = swarm_.turn_began();
    handshakes_.add(connected_at_ - connection.dialed);
    std::string own = prefix_ + std::to_string(part_.first() + connection.index);
    ask(connection, Ask::kSet,
        [&](std::string& out) { return protocol_->put_set(out, own, value_, false); });
    ask(connection, Ask::kAdd,
        [&](std::string& out) { protocol_->put_add(out, prefix_ + "joined"); });
  }

  void answered(Connection& connection, const Asked& asked, const Answer& answer) override {
    if (asked.ask == Ask::kAdd) {
      joined_at_ = swarm_.turn_began();
      if (answer.number == static_cast<int64_t>(part_.world_size())) release(connection);
      ask(connection, Ask::kWait,
          [&](std::string& out) { protocol_->put_wait(out, prefix_ + "go"); });
    } else if (asked.ask == Ask::kWait) {
      releases_.add(swarm_.turn_began() - part_.moment());
      ask(connection, Ask::kGet, [&](std::string& out) { protocol_->put_get(out, prefix_ + "0"); });
    } else if (asked.ask == Ask::kGet) {
      finished();
    }
  }

 private:
  void release(Connection& connection) {
    part_.set_moment(joined_at_);
    ask(connection, Ask::kRelease,
        [&](std::string& out) { return protocol_->put_release(out, prefix_ + "go"); });
  }

  const std::string prefix_ = part_.prefix("start");
  Times handshakes_;
  Times releases_;
  Instant connected_at_{};
  Instant joined_at_{};
};

class Idle final : public Scenario {
 public:
  using Scenario::Scenario;

  void run(Report& report) {
    part_.meet();
    double before = anonymous_bytes_of(options_.server_pid);
    Mark begin = mark(options_);
    swarm_.dial_all();
    run_until_finished();
    Mark end = mark(options_);
    part_.meet();
    report.add("connections", uint64_t{part_.world_size()});
    report_span(report, options_, begin, end, options_.connections, "connection");
    report_memory(report, "connection", before, part_.world_size());
    // Nobody hangs up before all have looked.
    part_.meet();
    report.add("handshake_us", handshakes_);
    report_swarm(report);
  }

  void connected(Connection& connection) override {
    handshakes_.add(swarm_.turn_began() - connection.dialed);
    finished();
  }

 private:
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
