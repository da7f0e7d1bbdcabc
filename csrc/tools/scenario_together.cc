// All ranks at one point: a barrier, or an exchange of values. The connections are open before the
// first rank comes.
#include "tools/scenario.h"

namespace rdzv::tools {
namespace {

class Together final : public Player {
 public:
  Together(const Options& options, Part& part, bool exchanges)
      : options_(options),
        part_(part),
        protocol_(Protocol::make(options.wire)),
        swarm_(options, part, *protocol_, *this),
        key_(part.prefix("together") + "key"),
        value_(options.value_bytes, 'x'),
        exchanges_(exchanges) {}

  void run(Report& report) {
    Deadline deadline = Deadline::after(from_seconds(options_.timeout_s));
    swarm_.dial_all();
    swarm_.run([&] { return swarm_.connected() == options_.connections; }, deadline);
    part_.meet();
    Mark begin = mark(options_);
    for (Connection& connection : swarm_.connections()) come(connection);
    swarm_.run(
        [&] { return finished_ + swarm_.errors() >= options_.connections && nothing_to_skip(); },
        deadline);
    Mark end = mark(options_);
    part_.meet();
    report.add("ranks", uint64_t{part_.world_size()});
    report.add("value_bytes", uint64_t{exchanges_ ? options_.value_bytes : 0});
    report_span(report, options_, begin, end, options_.connections, "rank");
    report_swarm(report, swarm_);
  }

  void connected(Connection&) override {}

  void answered(Connection& connection, const Asked& asked, const Answer&) override {
    if (asked.ask == Ask::kBarrier && exchanges_) {
      size_t begin = connection.out.size();
      protocol_->put_gather(connection.out, key_, part_.world_size(), value_.size());
      swarm_.asked(connection, Ask::kGather, begin);
    } else {
      ++finished_;
    }
  }

 private:
  void come(Connection& connection) {
    swarm_.begin_turn();
    Ask ask = Ask::kBarrier;
    size_t begin = connection.out.size();
    if (!exchanges_) {
      protocol_->put_barrier(connection.out, key_, part_.world_size());
    } else if (protocol_->put_exchange(connection.out, key_, part_.first() + connection.index,
                                       part_.world_size(), value_)) {
      ask = Ask::kExchange;
    }
    swarm_.asked(connection, ask, begin);
    swarm_.flush(connection);
  }

  // Answers of an exchange are counted when they begin; their values are still to come.
  bool nothing_to_skip() {
    if (!exchanges_) return true;
    for (const Connection& connection : swarm_.connections()) {
      if (connection.skip > 0 && connection.fd) return false;
    }
    return true;
  }

  const Options& options_;
  Part& part_;
  std::unique_ptr<Protocol> protocol_;
  Swarm swarm_;
  std::string key_;
  std::string value_;
  bool exchanges_;
  uint64_t finished_ = 0;
};

}  // namespace

void run_barrier(const Options& options, Part& part, Report& report) {
  Together(options, part, false).run(report);
}

void run_exchange(const Options& options, Part& part, Report& report) {
  Together(options, part, true).run(report);
}

}  // namespace rdzv::tools
