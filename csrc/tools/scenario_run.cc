// The rendezvous of a run, kept by the server: every node sends one JOIN and gets one answer. Then
// keep-alives, or the loss of nodes that others replace at once. Native protocol only.
#include <vector>

#include "base/error.h"
#include "tools/process.h"
#include "tools/scenario.h"
#include "wire/messages.h"

namespace rdzv::tools {
namespace {

using native::JoinReply;

// Only keepalive sends any; on a machine that is so busy that thousands of connects take long,
// nobody is to be taken for dead meanwhile.
constexpr uint64_t kKeepAliveInterval_ms = 60'000;
constexpr uint32_t kKeepAliveAttempts = 3;
constexpr uint64_t kLastCall_ms = 30'000;

class Run final : public Scenario {
 public:
  Run(const Options& options, Part& part)
      : Scenario(options, part), run_id_(part.prefix("run")), nodes_(options.connections) {
    if (options.wire != Wire::kNative) {
      throw Error(ErrorCode::kInvalidArgument,
                  options.scenario + " needs --protocol native: other servers have no runs");
    }
    for (size_t i = 0; i < nodes_.size(); ++i) nodes_[i].pid = rank_of(i) + 1;
  }

  // Whether it came together, in all processes.
  bool form(Report& report) {
    part_.meet();
    double bytes_before = anonymous_bytes_of(options_.server_pid);
    Mark begin = mark(options_);
    swarm_.dial_all();
    if (options_.connections_first) {
      connect_all();
      part_.meet();
      begin = mark(options_);
      may_join_ = true;
      for (Connection& connection : swarm_.connections())
        start(connection, [&] { join(connection); });
    }
    swarm_.run([&] { return is_formed(); }, deadline_);
    Mark end = mark(options_);
    bool is_well = part_.meet(!failed());
    report.add("nodes", uint64_t{part_.world_size()});
    report.add("connections_first", uint64_t{options_.connections_first});
    report_span(report, options_, begin, end, nodes_.size(), "node");
    if (placed_ > 0)
      report.add("first_join_to_last_answer_s", Quantity::span(first_join_at_, last_placed_at_));
    report.add("join_us", joins_);
    report_memory(report, "node", bytes_before, part_.world_size());
    return is_well;
  }

  // Every node watches the run, as its agent does; then some die, and as many come in their place.
  void lose(Report& report) {
    for (Connection& connection : swarm_.connections()) {
      start(connection, [&] {
        subscribe(connection);
        keep_alive(connection);
      });
    }
    swarm_.run([&] { return kept_alive_ == nodes_.size() || failed(); }, deadline_);
    placed_ = 0;
    ++formed_;
    if (!part_.meet(!failed())) return;

    Mark begin = mark(options_);
    for (size_t i = 0; i < nodes_.size() && rank_of(i) < options_.lose; ++i) {
      Connection& connection = swarm_.connections()[i];
      nodes_[i].pid += part_.world_size();  // another process
      nodes_[i].round = 0;
      swarm_.redial(connection);
    }
    swarm_.run([&] { return is_formed(); }, deadline_);
    Mark end = mark(options_);
    report.add("lost", uint64_t{options_.lose});
    report.add("noticed_by_all_s", Quantity::span(begin.at, last_noticed_at_));
    report.add("reformed_s", Quantity::span(begin.at, last_placed_at_));
    if (options_.server_pid != 0) {
      report.add("reform_server_cpu_s", Quantity::span(begin.server_cpu_s, end.server_cpu_s));
    }
  }

  // Each node once in every interval; spread evenly, as nodes that started at different times are.
  void keep_all_alive(Report& report) {
    Mark begin = mark(options_);
    Duration step = from_seconds(options_.interval_s / static_cast<double>(nodes_.size()));
    Duration length = from_seconds(options_.seconds);
    for (Duration due{0}; due < length; due += step) {
      Duration ahead = begin.at + due - now();
      if (ahead > Duration::zero()) swarm_.run_for(ahead);
      Connection& connection = swarm_.connections()[sent_++ % nodes_.size()];
      if (!connection.fd) continue;
      start(connection, [&] { keep_alive(connection); });
    }
    swarm_.run([&] { return kept_alive_ >= sent_ || failed(); }, deadline_);
    Mark end = mark(options_);
    Quantity time = Quantity::span(begin.at, end.at);
    Quantity cpu = Quantity::span(begin.server_cpu_s, end.server_cpu_s);
    report.add_count("keep_alives", sent_);
    report.add("keep_alive_seconds", time);
    report.add("keep_alive_us", keep_alives_);
    if (options_.server_pid != 0) {
      Quantity sent = Quantity::sum(static_cast<double>(sent_));
      report.add_ratio("server_cpu_us_per_keep_alive", cpu, sent, 1e6);
      report.add_ratio("server_cpu_percent", cpu, time, 100);
    }
  }

  void finish(Report& report) {
    // Whoever hangs up is lost to the others' round.
    part_.meet();
    report_swarm(report);
  }

  void connected(Connection& connection) override {
    if (may_join_ || !options_.connections_first) join(connection);
  }

  void answered(Connection& connection, const Asked& asked, const Answer& answer) override {
    if (!answer.error.empty()) return;  // counted
    if (asked.ask == Ask::kJoin) {
      placed(connection, asked, answer.body);
    } else if (asked.ask == Ask::kSubscribe) {
      last_noticed_at_ = swarm_.turn_began();
      join(connection);
    } else if (asked.ask == Ask::kKeepAlive) {
      native::KeepAliveReply reply;
      if (!native::take(answer.body, reply) || !reply.known)
        swarm_.fail("a keep-alive of a node that the server does not know");
      keep_alives_.add(swarm_.turn_began() - asked.sent);
      ++kept_alive_;
    }
  }

 private:
  struct Node {
    uint64_t pid = 0;
    uint64_t round = 0;  // the last one it had a place in
    bool is_spare = false;
  };

  size_t rank_of(size_t connection) const { return part_.first() + connection; }
  bool is_formed() const { return placed_ == nodes_.size() || failed(); }

  native::RunNode node_of(const Connection& connection) {
    addr_ = "node" + std::to_string(rank_of(connection.index));
    return {addr_, nodes_[connection.index].pid, 0};
  }

  void join(Connection& connection) {
    auto world = static_cast<uint32_t>(part_.world_size());
    native::JoinRequest request;
    request.timeout_ms = native::kNoTimeout;
    request.run_id = run_id_;
    request.node = node_of(connection);
    request.settings = {world, world, kLastCall_ms, kKeepAliveInterval_ms, kKeepAliveAttempts};
    if (options_.topology_keys > 0) {
      request.settings.rank_by = RankBy::kTopology;
      const size_t key = rank_of(connection.index) % options_.topology_keys;
      topology_ = "switch" + std::to_string(key / 16) + "/rack" + std::to_string(key);
      request.facts.topology = topology_;
    }
    request.after_round = nodes_[connection.index].round;
    request.handle = connection.index;
    request.is_spare = nodes_[connection.index].is_spare;
    if (!has_joined_) first_join_at_ = now();
    has_joined_ = true;
    ask(connection, Ask::kJoin, request);
  }

  void subscribe(Connection& connection) {
    native::SubscribeRequest request;
    request.timeout_ms = native::kNoTimeout;
    request.run_id = run_id_;
    request.node = node_of(connection);
    request.round = nodes_[connection.index].round;
    ask(connection, Ask::kSubscribe, request);
  }

  void keep_alive(Connection& connection) {
    ask(connection, Ask::kKeepAlive, native::KeepAliveRequest{connection.index});
  }

  template <typename Request>
  void ask(Connection& connection, Ask what, const Request& request) {
    swarm_.asked(connection, what, native::put_request(connection.out, request));
  }

  void placed(Connection& connection, const Asked& asked, Bytes body) {
    JoinReply reply;
    const bool is_read = native::take(body, reply);
    if (is_read && (reply.outcome == native::JoinOutcome::kSpare ||
                    reply.outcome == native::JoinOutcome::kNoSpare)) {
      // Who comes before the lost one is missed.
      nodes_[connection.index].is_spare = reply.outcome == native::JoinOutcome::kSpare;
      join(connection);
      return;
    }
    bool is_placed = is_read && reply.outcome == native::JoinOutcome::kPlaced &&
                     reply.world_size == part_.world_size() && reply.rank < part_.world_size();
    if (!is_placed || !part_.claim(reply.rank, formed_)) {
      swarm_.fail("a join's answer without a place in a round of all");
      return;
    }
    nodes_[connection.index].round = reply.round;
    nodes_[connection.index].is_spare = false;
    last_placed_at_ = swarm_.turn_began();
    joins_.add(last_placed_at_ - asked.sent);
    ++placed_;
  }

  const std::string run_id_;
  std::string addr_;
  std::string topology_;
  std::vector<Node> nodes_;
  uint32_t formed_ = 1;  // which round of ours
  bool may_join_ = false;
  bool has_joined_ = false;
  Instant first_join_at_{};
  Instant last_placed_at_{};
  Instant last_noticed_at_{};
  Times joins_;
  Times keep_alives_;
  size_t placed_ = 0;
  uint64_t sent_ = 0;
  uint64_t kept_alive_ = 0;
};

}  // namespace

void run_rendezvous(const Options& options, Part& part, Report& report) {
  Run run(options, part);
  if (run.form(report) && options.lose > 0) run.lose(report);
  run.finish(report);
}

void run_keepalive(const Options& options, Part& part, Report& report) {
  Run run(options, part);
  if (run.form(report)) run.keep_all_alive(report);
  run.finish(report);
}

}  // namespace rdzv::tools
