// What NCCL's start of many communicators at once asks of a store: some ranks have each set a key,
// and every rank waits for all of these keys and then reads them in one request. The connections
// are open and the keys there before the first rank asks.
#include "tools/scenario.h"

namespace rdzv::tools {
namespace {

class Ids final : public Scenario {
 public:
  using Scenario::Scenario;

  void run(Report& report) {
    connect_all();
    set_keys();
    part_.meet();
    Mark begin = mark(options_);
    for (Connection& connection : swarm_.connections()) {
      start(connection, [&] {
        ask(connection, Ask::kWait,
            [&](std::string& out) { protocol_->put_wait_all(out, prefix_, options_.keys); });
      });
    }
    run_until_finished();
    Mark end = mark(options_);
    part_.meet();
    report.add("ranks", uint64_t{part_.world_size()});
    report.add("keys", uint64_t{options_.keys});
    report.add("value_bytes", uint64_t{options_.value_bytes});
    report_span(report, options_, begin, end, options_.connections, "rank");
    report_swarm(report);
  }

  void answered(Connection& connection, const Asked& asked, const Answer&) override {
    if (asked.ask == Ask::kMultiSet) {
      are_set_ = true;
    } else if (asked.ask == Ask::kWait) {
      ask(connection, Ask::kGather, [&](std::string& out) {
        protocol_->put_multi_get(out, prefix_, options_.keys, value_.size());
      });
    } else {
      finished();
    }
  }

 private:
  // Every process sets the same.
  void set_keys() {
    Connection& connection = swarm_.connections()[0];
    start(connection, [&] {
      ask(connection, Ask::kMultiSet,
          [&](std::string& out) { protocol_->put_multi_set(out, prefix_, options_.keys, value_); });
    });
    swarm_.run([&] { return are_set_ || failed(); }, deadline_);
  }

  const std::string prefix_ = part_.prefix("ids");
  bool are_set_ = false;
};

}  // namespace

void run_ids(const Options& options, Part& part, Report& report) {
  Ids(options, part).run(report);
}

}  // namespace rdzv::tools
