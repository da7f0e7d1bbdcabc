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

class Keys final : public Scenario {
 public:
  Keys(const Options& options, Part& part) : Scenario(options, part) { connect_all(); }

  void set_one_by_one(Report& report) {
    double before = anonymous_bytes_of(options_.server_pid);
    Mark begin = mark(options_);
    Connection& connection = swarm_.connections()[0];
    for (size_t i = 0; i < options_.keys;) {
      swarm_.begin_turn();
      for (size_t n = 0; n < kSetsInFlight && i < options_.keys; ++n, ++i) {
        ask(connection, Ask::kSet, [&](std::string& out) {
          return protocol_->put_set(out, prefix_ + std::to_string(i), value_, true);
        });
        ++outstanding_;
      }
      swarm_.flush(connection);
      swarm_.run([&] { return is_settled(); }, deadline_);
    }
    finish(report, begin);
    report_memory(report, "key", before, options_.keys);
  }

  void set_at_once(Report& report) {
    Connection& connection = swarm_.connections()[0];
    ask(connection, Ask::kMultiSet,
        [&](std::string& out) { protocol_->put_multi_set(out, prefix_, options_.keys, value_); });
    ++outstanding_;
    Mark begin = mark(options_);
    send_in_pieces(connection);
    swarm_.run([&] { return is_settled(); }, deadline_);
    finish(report, begin);
  }

  void answered(Connection&, const Asked&, const Answer&) override { --outstanding_; }

 private:
  bool is_settled() const { return outstanding_ == 0 || failed(); }

  void send_in_pieces(Connection& connection) {
    if (connection.secure != nullptr)
      throw Error(ErrorCode::kUnsupported, "multi_set is sent in pieces without TLS alone");
    Bytes rest = connection.out;
    int fd = connection.fd.get();
    while (!rest.empty()) {
      long moved = send_some(fd, rest.substr(0, options_.piece_bytes));
      if (moved == kBroken) throw Error(ErrorCode::kConnection, "multi_set: " + errno_text(errno));
      if (moved == kWouldBlock) {
        if (deadline_.passed())
          throw Error(ErrorCode::kTimeout, "the server did not read multi_set in time");
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
    report_swarm(report);
  }

  const std::string prefix_ = part_.prefix("keys");
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
