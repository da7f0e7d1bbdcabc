// The promises of the rulebook, held against random schedules of nodes whose run the server's core keeps:
// messages in memory, connections that break, JOINs that are repeated.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "core_world.h"
#include "group/on_wire.h"
#include "rulebook_scene.h"
#include "rulebook_schedule.h"
#include "server/run.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

constexpr int kSteps = 60;
constexpr uint32_t kGraceMs = 1'000;

class InTheServer {
 public:
  explicit InTheServer(Schedule& schedule)
      : promises(schedule.settings, schedule.nodes, schedule.facts),
        schedule_(schedule),
        world_(std::make_unique<World>()),
        eye_(&world_->newcomer("eye")) {}

  void run() {
    for (int step = 0; step < kSteps; ++step) {
      const Deed deed = schedule_.draw(20) == 0 ? Deed::kRestart : schedule_.deed(step);
      act(deed, schedule_.node());
    }
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
      case Deed::kVerdict:
        eye_->ask(native::CloseRunRequest{{"run"}, {"enough"}, deed == Deed::kVerdict});
        return look({deed, node});
      case Deed::kAttempt:
        schedule_.attempts[node] = ++schedule_.last_attempt;
        return join(node);
      case Deed::kRestart:
        return restart();
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

  // The server comes back without what it knew; each that lives, or some, take their places again,
  // while others join.
  void restart() {
    peers_.clear();
    world_ = std::make_unique<World>();
    eye_ = &world_->newcomer("eye");
    promises.restart();
    attempt_ = 0;
    std::vector<NodeId> back(active_.begin(), active_.end());
    std::ranges::shuffle(back, schedule_.random);
    for (const NodeId& node : back) {
      if (promises.dead.contains(node) || schedule_.draw(8) == 0) continue;
      if (schedule_.draw(8) == 0) join(schedule_.node());
      resume(node);
    }
  }

  void resume(const NodeId& node) {
    if (peers_.contains(node)) return;
    peers_[node] = &world_->newcomer(node.addr);
    native::ResumeRequest request;
    request.run_id = "run";
    request.node = wire_node(node);
    request.settings = wire_settings(schedule_.settings);
    request.round = promises.places.at(node).first;
    request.rank = static_cast<uint32_t>(promises.places.at(node).second);
    request.world_size = sizes_.at(request.round);
    request.grace_ms = kGraceMs;
    request.handle = 1;
    NodeFacts own = schedule_.facts.at(node);
    own.attempt = promises.attempts[node];
    request.facts = wire_facts(own);
    const size_t call = peers_[node]->ask(request);
    if (peers_[node]->reply(call).status != ErrorCode::kOk) return look({});
    const bool is_taken = peers_[node]->answer<native::ResumeRequest>(call).taken;
    if (is_taken) attempt_ = own.attempt;
    look({is_taken ? Deed::kResume : Deed::kTime, node});
  }

  void join(const NodeId& node) {
    promises.dead.erase(node);
    promises.asked[node] = rounds_[node];
    if (!peers_.contains(node)) peers_[node] = &world_->newcomer(node.addr);
    native::JoinRequest request;
    request.timeout_ms = native::kNoTimeout;
    request.run_id = "run";
    request.node = wire_node(node);
    request.settings = wire_settings(schedule_.settings);
    request.after_round = rounds_[node];
    request.grace_ms = kGraceMs;
    request.handle = 1;
    request.is_spare = promises.now().role(node) == Role::kSpare;
    const NodeFacts own = schedule_.brings(node);
    request.facts = wire_facts(own);
    const size_t call = peers_[node]->ask(request);
    const bool is_refused =
        peers_[node]->has_answer(call) && peers_[node]->reply(call).status != ErrorCode::kOk;
    const bool is_later = !is_refused && own.attempt > attempt_;
    if (is_refused) return look({});
    attempt_ = own.attempt;
    look({is_later ? Deed::kAttempt : Deed::kJoin, node, own.attempt});
  }

  void pass(Duration duration) {
    for (const auto& [node, peer] : peers_) {
      peer->ask(native::KeepAliveRequest{1});
      peer->exchange();
    }
    world_->wait(duration);
    for (const auto& [node, peer] : peers_) peer->exchange();
    look({});
  }

  void look(const Cause& cause) {
    Snapshot seen;
    std::optional<uint64_t> changes;
    size_t participants = 0;
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
      seen.has_failed = status.failed;
      seen.world_size = status.world_size;
      participants = status.participants;
      if (status.role == native::RunRole::kActive) changes = status.changes;
    }
    seen.spares = members(native::MemberList::kSpares);
    for (const NodeId& node : members(native::MemberList::kLost)) seen.lost.insert(node);
    if (seen.complete) seen.strangers = participants - seen.count(Role::kActive);
    seen.changes = changes.value_or(seen.count(Role::kWaiting) + seen.lost.size());
    promises.step(seen, cause);
    if (seen.complete) sizes_[seen.round] = seen.world_size;
    active_.clear();
    for (const NodeId& node : schedule_.nodes) {
      if (seen.role(node) != Role::kActive) continue;
      rounds_[node] = seen.round;
      active_.insert(node);
    }
  }

  std::vector<NodeId> members(native::MemberList which) {
    const size_t call = eye_->ask(native::MembersRequest{{"run"}, which, {}, 100});
    std::vector<NodeId> nodes;
    for (const auto& item : eye_->answer<native::MembersRequest>(call).items)
      nodes.push_back(node_of(item.node));
    return nodes;
  }

  Schedule& schedule_;
  std::unique_ptr<World> world_;
  MemoryPeer* eye_;
  std::map<NodeId, MemoryPeer*> peers_;
  std::map<NodeId, uint64_t> rounds_;
  std::map<uint64_t, uint32_t> sizes_;  // of complete rounds
  std::set<NodeId> active_;             // when the server was last asked
  uint64_t attempt_ = 0;                // the run's
};

}  // namespace

TEST_CASE("the promises of the rulebook hold in the server, whatever happens") {
  constexpr uint32_t kSchedules = 300;
  size_t completed = 0, resumed = 0, displacements = 0, replaced = 0;
  for (uint32_t seed = 0; seed < kSchedules; ++seed) {
    Schedule schedule(seed);
    InTheServer way(schedule);
    CAPTURE(seed);
    CAPTURE(to_text(schedule.settings));
    CHECK_NOTHROW(way.run());
    completed += way.promises.completed;
    resumed += way.promises.resumed;
    displacements += way.promises.displacements;
    replaced += way.promises.replaced;
  }
  CHECK(completed > kSchedules);
  CHECK(resumed > kSchedules);
  CHECK(displacements > kSchedules / 4);
  CHECK(replaced > kSchedules / 30);
}
