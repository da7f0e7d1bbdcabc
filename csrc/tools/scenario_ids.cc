// What NCCL's start of many communicators at once asks of a store: some ranks have each set a key,
// and every rank waits for all of these keys and then reads them in one request. The connections
// are open and the keys there before the first rank asks.
#include "tools/scenario.h"

namespace rdzv::tools {
namespace {

class Ids final : public Player {
 public:
  Ids(const Options& options, Part& part)
      : options_(options),
        part_(part),
        protocol_(Protocol::make(options.wire)),
        swarm_(options, part, *protocol_, *this),
        prefix_(part.prefix("ids")),
        value_(options.value_bytes, 'x') {}

  void run(Report& report) {
    Deadline deadline = Deadline::after(from_seconds(options_.timeout_s));
    swarm_.dial_all();
    swarm_.run([&] { return swarm_.connected() == options_.connections; }, deadline);
    set_keys(deadline);
    part_.meet();
    Mark begin = mark(options_);
    for (Connection& connection : swarm_.connections()) wait_for_all(connection);
    swarm_.run([&] { return finished_ + swarm_.errors() >= options_.connections && is_quiet(); },
               deadline);
    Mark end = mark(options_);
    part_.meet();
    report.add("ranks", uint64_t{part_.world_size()});
    report.add("keys", uint64_t{options_.keys});
    report.add("value_bytes", uint64_t{options_.value_bytes});
    report_span(report, options_, begin, end, options_.connections, "rank");
    report_swarm(report, swarm_);
  }

  void connected(Connection&) override {}

  void answered(Connection& connection, const Asked& asked, const Answer&) override {
    if (asked.ask == Ask::kMultiSet) {
      are_set_ = true;
    } else if (asked.ask == Ask::kWait) {
      size_t begin = connection.out.size();
      protocol_->put_multi_get(connection.out, prefix_, options_.keys, value_.size());
      swarm_.asked(connection, Ask::kGather, begin);
    } else {
      ++finished_;
    }
  }

 private:
  // Every process sets the same.
  void set_keys(const Deadline& deadline) {
    Connection& connection = swarm_.connections()[0];
    swarm_.begin_turn();
    size_t begin = connection.out.size();
    protocol_->put_multi_set(connection.out, prefix_, options_.keys, value_);
    swarm_.asked(connection, Ask::kMultiSet, begin);
    swarm_.flush(connection);
    swarm_.run([&] { return are_set_ || swarm_.errors() > 0; }, deadline);
  }

  void wait_for_all(Connection& connection) {
    swarm_.begin_turn();
    size_t begin = connection.out.size();
    protocol_->put_wait_all(connection.out, prefix_, options_.keys);
    swarm_.asked(connection, Ask::kWait, begin);
    swarm_.flush(connection);
  }

  // Answers are counted when they begin; their values are still to come.
  bool is_quiet() {
    for (const Connection& connection : swarm_.connections()) {
      if (connection.skip > 0 && connection.fd) return false;
    }
    return true;
  }

  const Options& options_;
  Part& part_;
  std::unique_ptr<Protocol> protocol_;
  Swarm swarm_;
  std::string prefix_;
  std::string value_;
  bool are_set_ = false;
  uint64_t finished_ = 0;
};

}  // namespace

void run_ids(const Options& options, Part& part, Report& report) {
  Ids(options, part).run(report);
}

}  // namespace rdzv::tools
