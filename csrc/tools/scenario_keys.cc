// Many keys by one connection: set one by one, for what a key costs the server's memory; and in one
// multi_set, cut into small pieces as torch's client cuts it.
#include <cerrno>

#include "base/error.h"
#include "net/socket.h"
#include "tools/process.h"
#include "tools/scenario.h"

namespace rdzv::tools {
namespace {

constexpr size_t kSetsInFlight = 64;

class Keys final : public Player {
 public:
  Keys(const Options& options, const Part& part)
      : options_(options),
        protocol_(Protocol::make(options.wire)),
        swarm_(options_, part, *protocol_, *this),
        deadline_(Deadline::after(from_seconds(options.timeout_s))),
        prefix_(part.prefix("keys")),
        value_(options.value_bytes, 'x') {
    swarm_.dial_all();
    swarm_.run([&] { return swarm_.connected() == 1; }, deadline_);
  }

  void set_one_by_one(Report& report) {
    double before = anonymous_bytes_of(options_.server_pid);
    Mark begin = mark(options_);
    Connection& connection = swarm_.connections()[0];
    for (size_t i = 0; i < options_.keys;) {
      swarm_.begin_turn();
      for (size_t n = 0; n < kSetsInFlight && i < options_.keys; ++n, ++i) {
        size_t from = connection.out.size();
        protocol_->put_set(connection.out, prefix_ + std::to_string(i), value_, true);
        asked(connection, Ask::kSet, from);
      }
      swarm_.flush(connection);
      swarm_.run([&] { return is_settled(); }, deadline_);
    }
    finish(report, begin);
    if (options_.server_pid != 0) {
      Quantity bytes = Quantity::span(before, anonymous_bytes_of(options_.server_pid));
      Quantity keys = Quantity::same(static_cast<double>(options_.keys));
      report.add_ratio("server_bytes_per_key", bytes, keys);
    }
  }

  void set_at_once(Report& report) {
    Connection& connection = swarm_.connections()[0];
    size_t from = connection.out.size();
    protocol_->put_multi_set(connection.out, prefix_, options_.keys, value_);
    asked(connection, Ask::kMultiSet, from);
    Mark begin = mark(options_);
    send_in_pieces(connection);
    swarm_.run([&] { return is_settled(); }, deadline_);
    finish(report, begin);
  }

  void connected(Connection&) override {}
  void answered(Connection&, const Asked&, const Answer&) override { --outstanding_; }

 private:
  bool is_settled() const { return outstanding_ == 0 || swarm_.errors() > 0; }

  void asked(Connection& connection, Ask ask, size_t from) {
    swarm_.asked(connection, ask, from);
    ++outstanding_;
  }

  void send_in_pieces(Connection& connection) {
    Bytes rest = connection.out;
    int fd = connection.fd.get();
    while (!rest.empty()) {
      long moved = send_some(fd, rest.substr(0, options_.piece_bytes));
      if (moved == kBroken) throw Error(ErrorCode::kConnection, "multi_set: " + errno_text(errno));
      if (moved == kWouldBlock) {
        if (deadline_.passed()) throw Error(ErrorCode::kTimeout, "multi_set is not taken in time");
        wait_ready(fd, false, true, deadline_.left());
      } else {
        rest.remove_prefix(static_cast<size_t>(moved));
      }
    }
    connection.out.clear();
  }

  void finish(Report& report, const Mark& begin) {
    Mark end = mark(options_);
    report.add("keys", uint64_t{options_.keys});
    report.add("value_bytes", uint64_t{options_.value_bytes});
    report_span(report, options_, begin, end, options_.keys, "key");
    report_swarm(report, swarm_);
  }

  const Options& options_;
  std::unique_ptr<Protocol> protocol_;
  Swarm swarm_;
  Deadline deadline_;
  std::string prefix_;
  std::string value_;
  int64_t outstanding_ = 0;
};

}  // namespace

void run_keys(const Options& options, Part& part, Report& report) {
  Keys(options, part).set_one_by_one(report);
}

void run_multi_set(const Options& options, Part& part, Report& report) {
  Keys(options, part).set_at_once(report);
}

}  // namespace rdzv::tools
