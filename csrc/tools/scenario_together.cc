// All ranks at one point: a barrier, or an exchange of values. The connections are open before the
// first rank comes.
#include "tools/scenario.h"

namespace rdzv::tools {
namespace {

class Together final : public Scenario {
 public:
  Together(const Options& options, Part& part, bool exchanges)
      : Scenario(options, part), exchanges_(exchanges) {}

  void run(Report& report) {
    connect_all();
    part_.meet();
    Mark begin = mark(options_);
    for (Connection& connection : swarm_.connections())
      start(connection, [&] { come(connection); });
    run_until_finished();
    Mark end = mark(options_);
    part_.meet();
    report.add("ranks", uint64_t{part_.world_size()});
    report.add("value_bytes", uint64_t{exchanges_ ? options_.value_bytes : 0});
    report_span(report, options_, begin, end, options_.connections, "rank");
    report_swarm(report);
  }

  void answered(Connection& connection, const Asked& asked, const Answer&) override {
    if (asked.ask != Ask::kBarrier || !exchanges_) return finished();
    ask(connection, Ask::kGather, [&](std::string& out) {
      protocol_->put_gather(out, key_, part_.world_size(), value_.size());
    });
  }

 private:
  void come(Connection& connection) {
    Ask ask = Ask::kBarrier;
    size_t begin = connection.out.size();
    if (!exchanges_) {
      protocol_->put_barrier(connection.out, key_, part_.world_size());
    } else if (protocol_->put_exchange(connection.out, key_, part_.first() + connection.index,
                                       part_.world_size(), value_)) {
      ask = Ask::kExchange;
    }
    swarm_.asked(connection, ask, begin);
  }

  const std::string key_ = part_.prefix("together") + "key";
  const bool exchanges_;
};

}  // namespace

void run_barrier(const Options& options, Part& part, Report& report) {
  Together(options, part, false).run(report);
}

void run_exchange(const Options& options, Part& part, Report& report) {
  Together(options, part, true).run(report);
}

}  // namespace rdzv::tools
