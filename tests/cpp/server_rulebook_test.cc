// The promises of the rulebook, held against random schedules of nodes whose run the server's core keeps:
// messages in memory, connections that break, JOINs that are repeated.
#include <doctest/doctest.h>

#include <string>

#include "core_world.h"
#include "group/on_wire.h"
#include "rulebook_scene.h"
#include "server/run.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

constexpr int kSteps = 60;
constexpr uint32_t kGraceMs = 1'000;
constexpr Duration kInterval = std::chrono::seconds(5);

class InTheServer {
 public:
  explicit InTheServer(Schedule& schedule)
      : promises(schedule.settings, schedule.nodes, schedule.facts),
        schedule_(schedule),
        eye_(&world_.newcomer("eye")) {}

  void run() {
    for (int step = 0; step < kSteps; ++step) act(schedule_.deed(step), schedule_.node());
  }

  Promises promises;

 private:
  void act(Deed deed, const NodeId& node) {
    switch (deed) {
      case Deed::kTime: {
        const int times = schedule_.draw(4) == 0 ? 8 : 1;
        for (int i = 0; i < times; ++i) pass(std::chrono::milliseconds(schedule_.draw(5'000)));
        return;
      }
      case Deed::kDie:
        if (!peers_.contains(node)) return;
        promises.dead.insert(node);
        peers_.at(node)->lose();
        peers_.erase(node);
        pass(std::chrono::milliseconds(kGraceMs));
        return;
      case Deed::kJoin:
        join(node);
        // A repeated one, whose answer was lost, say.
        if (schedule_.draw(5) == 0) join(node);
        return;
      case Deed::kClose:
        eye_->ask(native::CloseRunRequest{{"run"}, {"enough"}});
        return look({deed, node});
      default: {
        native::LeaveRequest leave;
        leave.run_id = "run";
        leave.node = wire_node(node);
        leave.failed = deed == Deed::kFail;
        eye_->ask(leave);
        return look({deed, node});
      }
    }
  }

  void join(const NodeId& node) {
    promises.dead.erase(node);
    promises.asked[node] = rounds_[node];
    if (!peers_.contains(node)) peers_[node] = &world_.newcomer(node.addr);
    native::JoinRequest request;
    request.timeout_ms = native::kNoTimeout;
    request.run_id = "run";
    request.node = wire_node(node);
    request.settings = wire_settings(schedule_.settings);
    request.after_round = rounds_[node];
    request.grace_ms = kGraceMs;
    request.handle = 1;
    request.is_spare = promises.now().role(node) == Role::kSpare;
    const NodeFacts used = schedule_.facts.at(node);
    request.facts = wire_facts(used);
    peers_[node]->ask(request);
    look({Deed::kJoin, node});
  }

  void pass(Duration duration) {
    for (const auto& [node, peer] : peers_) {
      peer->ask(native::KeepAliveRequest{1});
      peer->exchange();
    }
    world_.wait(duration);
    for (const auto& [node, peer] : peers_) peer->exchange();
    look({});
  }

  void look(const Cause& cause) {
    Snapshot seen;
    std::optional<uint64_t> changes;
    for (const NodeId& node : schedule_.nodes) {
      const native::StatusReply status = eye_->answer<native::StatusRequest>(
          eye_->ask(native::StatusRequest{{"run"}, wire_node(node)}));
      Placement& placement = seen.placements[node];
      if (status.role != native::RunRole::kAbsent)
        placement.role = static_cast<Role>(static_cast<uint8_t>(status.role));
      placement.rank = status.rank == native::kNoRank ? -1 : int64_t{status.rank};
      seen.round = std::max<uint64_t>(1, status.round);
      seen.complete = status.complete;
      seen.closed = status.closed;
      seen.finished_round = status.finished_round;
      seen.failed_round = status.failed ? 1 : 0;
      seen.world_size = status.world_size;
      if (status.role == native::RunRole::kActive) changes = status.changes;
    }
    seen.spares = members(native::MemberList::kSpares);
    for (const NodeId& node : members(native::MemberList::kLost)) seen.lost.insert(node);
    seen.changes = changes.value_or(seen.count(Role::kWaiting) + seen.lost.size());
    promises.step(seen, cause);
    for (const NodeId& node : schedule_.nodes)
      if (seen.role(node) == Role::kActive) rounds_[node] = seen.round;
  }

  std::vector<NodeId> members(native::MemberList which) {
    const size_t call = eye_->ask(native::MembersRequest{{"run"}, which, {}, 100});
    std::vector<NodeId> nodes;
    for (const auto& item : eye_->answer<native::MembersRequest>(call).items)
      nodes.push_back(node_of(item.node));
    return nodes;
  }

  Schedule& schedule_;
  World world_;
  MemoryPeer* eye_;
  std::map<NodeId, MemoryPeer*> peers_;
  std::map<NodeId, uint64_t> rounds_;
};

}  // namespace

TEST_CASE("the promises of the rulebook hold in the server, whatever happens") {
  constexpr uint32_t kSchedules = 300;
  size_t completed = 0;
  for (uint32_t seed = 0; seed < kSchedules; ++seed) {
    Schedule schedule(seed);
    InTheServer way(schedule);
    CAPTURE(seed);
    CAPTURE(to_text(schedule.settings));
    CHECK_NOTHROW(way.run());
    completed += way.promises.completed;
  }
  CHECK(completed > kSchedules);
}
