// A closed loop of one operation: every connection keeps so many requests in flight. The requests
// are made once and only stamped with their ids, so that the driver costs less than any server.
#include <algorithm>

#include "base/error.h"
#include "tools/scenario.h"

namespace rdzv::tools {
namespace {

constexpr size_t kPresetsInFlight = 64;
constexpr double kWarmUpPart = 0.1;
constexpr double kWarmUpMax_s = 0.3;

struct Operation {
  const char* name;
  Ask ask;
};
constexpr Operation kOperations[] = {{"get", Ask::kGet},
                                     {"set", Ask::kSet},
                                     {"add", Ask::kAdd},
                                     {"compare_set", Ask::kCompareSet},
                                     {"check", Ask::kCheck}};

class Ops final : public Scenario {
 public:
  Ops(const Options& options, Part& part)
      : Scenario(options, part), ask_(ask_of(options.operation)) {}

  void run(Report& report) {
    connect_all();
    // The keys are the same for all processes.
    if (part_.index() == 0) preset();
    make_requests();
    part_.meet();
    bool counts = options_.count > 0;
    is_running_ = true;
    for (Connection& connection : swarm_.connections()) begin(connection);
    if (!counts)
      swarm_.run_for(from_seconds(std::min(options_.seconds * kWarmUpPart, kWarmUpMax_s)));

    times_ = Times();
    uint64_t before = done_;
    Mark begin = mark(options_);
    if (counts) {
      swarm_.run([&] { return done_ - before >= options_.count; }, deadline_);
    } else {
      swarm_.run_for(from_seconds(options_.seconds));
      // A slow server's time for one, if that is longer.
      swarm_.run([&] { return done_ > before || failed(); }, deadline_);
    }
    Mark end = mark(options_);
    uint64_t count = done_ - before;
    is_running_ = false;
    swarm_.run([&] { return outstanding_ == 0 || failed(); }, deadline_);
    part_.meet();

    report.add("operation", options_.operation);
    report.add("connections", uint64_t{part_.world_size()});
    report.add("in_flight", uint64_t{options_.in_flight});
    report.add("value_bytes", uint64_t{options_.value_bytes});
    report_span(report, options_, begin, end, count, "operation");
    report.add("latency_us", times_);
    report_swarm(report);
  }

  void answered(Connection& connection, const Asked& asked, const Answer&) override {
    --outstanding_;
    if (!is_running_) return;
    ++done_;
    times_.add(swarm_.turn_began() - asked.sent);
    issue(connection);
  }

 private:
  static Ask ask_of(const std::string& name) {
    for (const Operation& operation : kOperations) {
      if (name == operation.name) return operation.ask;
    }
    throw Error(ErrorCode::kInvalidArgument,
                "--operation takes get, set, add, compare_set or check, not '" + name + "'");
  }

  static std::string key(size_t i) { return "key/" + std::to_string(i); }

  // Every key has its value and the counter is a number, so that nothing waits or fails.
  void preset() {
    Connection& first = swarm_.connections()[0];
    for (size_t i = 0; i <= options_.keys;) {
      swarm_.begin_turn();
      for (size_t n = 0; n < kPresetsInFlight && i <= options_.keys; ++n, ++i) {
        bool is_counter = i == options_.keys;
        ask(first, Ask::kSet, [&](std::string& out) {
          return protocol_->put_set(out, is_counter ? "counter" : key(i), is_counter ? "0" : value_,
                                    true);
        });
        ++outstanding_;
      }
      swarm_.flush(first);
      swarm_.run([&] { return outstanding_ == 0 || failed(); }, deadline_);
    }
  }

  void make_requests() {
    for (size_t i = 0; i < options_.keys; ++i) {
      std::string request;
      switch (ask_) {
        case Ask::kGet:
          protocol_->put_get(request, key(i));
          break;
        case Ask::kSet:
          protocol_->put_set(request, key(i), value_, true);
          break;
        case Ask::kCompareSet:
          protocol_->put_compare_set(request, key(i), value_);
          break;
        case Ask::kCheck:
          protocol_->put_check(request, key(i));
          break;
        default:
          protocol_->put_add(request, "counter");
          break;
      }
      requests_.push_back(std::move(request));
    }
  }

  void begin(Connection& connection) {
    start(connection, [&] {
      for (size_t i = 0; i < options_.in_flight; ++i) issue(connection);
    });
  }

  void issue(Connection& connection) {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    ask(connection, ask_,
        [&](std::string& out) { out.append(requests_[random_ % requests_.size()]); });
    ++outstanding_;
  }

  const Ask ask_;
  std::vector<std::string> requests_;
  Times times_;
  bool is_running_ = false;
  uint64_t random_ = 88172645463325252ULL;  // any seed: the same keys in every run
  uint64_t done_ = 0;
  int64_t outstanding_ = 0;
};

}  // namespace

void run_ops(const Options& options, Part& part, Report& report) {
  Ops(options, part).run(report);
}

}  // namespace rdzv::tools
