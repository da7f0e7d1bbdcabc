#include "server/run.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "group/on_wire.h"
#include "server/context.h"
#include "server/run_text.h"
#include "wire/native.h"

namespace rdzv {
namespace {

constexpr size_t kPendingJoinBytes = 384;

// What is known of a run that nobody has changed.
const Group kNobody;

bool waits_for_next_round(std::optional<Role> role) {
  return role == Role::kWaiting || role == Role::kSpare;
}

}  // namespace

Run::Run(ServerContext& context, RunKeeper& keeper, Bytes id)
    : context_(context),
      keeper_(keeper),
      memory_(&context.runs.memory()),
      id_(id),
      group_(&kNobody),
      seats_(0, NodeHash{context.state.seed()}),
      followers_(context, keeper, *this),
      record_(context, *this) {
  charge();
}

// Only runs that nobody is connected to are forgotten, and the others end with the loop.
Run::~Run() {
  context_.clock.awake_timers.cancel(deadline_);
  context_.clock.timers.cancel(published_.timer);
  for (auto& [node, seat] : seats_) context_.clock.awake_timers.cancel(seat.grace_timer);
}

bool Run::is_held() const {
  return group_ != &kNobody;
}

bool Run::has_place(const NodeId& node) const {
  return seats_.contains(node) || group().state().roster.find(node) != nullptr;
}

template <typename Change>
auto Run::apply(const Change& change) {
  auto effect = context_.apply(change);
  if (!is_held()) group_ = context_.state.run(id_);
  return effect;
}

void Run::charge() {
  constexpr size_t kLostBytes = 256;
  const size_t nodes = std::max(seats_.size(), group().state().roster.listed());
  memory_.resize(kRunBytes + 4 * heap_bytes(id_.size()) + nodes * kRunNodeBytes +
                 group().state().lost.size() * kLostBytes);
}

void Run::join(RunPeer& peer, uint64_t tag, const NodeId& node,
               const native::JoinRequest& request) {
  if (was_dismissed(node)) {
    native::JoinReply reply;
    reply.outcome = native::JoinOutcome::kFinished;
    reply.round = group().state().finished_round;
    remove_seat(seats_.at(node));
    peer.on_joined(tag, reply);
    return;
  }
  if (was_failed(node)) {
    remove_seat(seats_.at(node));
    peer.on_join_failed(tag, ErrorCode::kRunFailed, failed_text(id_, group()));
    return;
  }
  const std::optional<Role> role_before = group().placement(node).role;
  const uint64_t round_before = group().state().round;
  apply(change::JoinRun{id_, node, settings_of(request.settings), request.after_round,
                        facts_of(request.facts)});
  const Placement placement = group().placement(node);
  record_.on_joined(node, role_before, placement.role, round_before);
  Seat& seat = seat_of(node, peer, request.handle, request.grace_ms);
  seat.outlasts = waits_for_next_round(placement.role) ? group().state().round : 0;
  seat.join = PendingJoin{tag,
                          request.after_round,
                          std::chrono::milliseconds(request.timeout_ms),
                          request.is_spare,
                          std::nullopt,
                          Charge(&peer.parked(), kPendingJoinBytes),
                          joining_.insert(joining_.end(), &seat)};
  peer.ties().add_join(tag, *this, seat);
  settled();
  if (seat.join && untold_joins_ > 0) {
    untold_joins_ = joining_.size();  // in its turn
  } else if (seat.join && placement.role == Role::kActive &&
             group().state().round > request.after_round) {
    place(seat, static_cast<uint32_t>(placement.rank));
  } else if (seat.join) {
    tell_if_moved(seat);
  }
  if (!seat.join || request.timeout_ms == native::kNoTimeout) return;
  seat.join->timer = context_.clock.timers.call_at(context_.clock.now + seat.join->timeout,
                                                   [this, &seat] { on_join_deadline(seat); });
}

// Whether the job whose next round the node waits for has finished while its connection was broken.
bool Run::was_dismissed(const NodeId& node) const {
  const auto found = seats_.find(node);
  if (found == seats_.end()) return false;
  const Seat& seat = found->second;
  return seat.outlasts != 0 && group().state().finished_round >= seat.outlasts &&
         !group().placement(node).role;
}

// Likewise, where too few nodes were left meanwhile because nodes gave up.
bool Run::was_failed(const NodeId& node) const {
  return seats_.contains(node) && group().state().failed_round != 0 &&
         !group().placement(node).role;
}

native::ResumeReply Run::resume(RunPeer& peer, const NodeId& node,
                                const native::ResumeRequest& request) {
  native::ResumeReply reply;
  const uint64_t before = group().state().round;
  const Resumed resumed =
      apply(change::ResumeRun{id_, node, settings_of(request.settings), request.round, request.rank,
                              request.world_size, facts_of(request.facts)});
  reply.taken = resumed != Resumed::kRefused;
  record_.on_resumed(node, resumed, before);
  if (reply.taken) {
    Seat& seat = seat_of(node, peer, request.handle, request.grace_ms);
    seat.round = request.round;
    seat.outlasts = 0;
    if (request.rank == 0) first_ = node;  // until now a stand-in
  }
  settled();
  reply.changes = clamped(group().membership_changes(node, request.round));
  reply.closed = group().state().closed;
  return reply;
}

native::LeaveReply Run::leave(const native::LeaveRequest& request) {
  const NodeId node = node_of(request.node);
  std::optional<Ending> ending;
  if (request.gave_up) {
    ending = Ending{static_cast<int32_t>(request.exit_code), request.unix_ms,
                    std::string(request.last_line)};
  }
  const bool was_listed = context_.apply(change::LeaveRun{
      id_, node, request.failed, ending, request.gave_up && request.do_not_restart});
  if (was_listed) {
    const native::Departure how = request.gave_up  ? native::Departure::kGaveUp
                                  : request.failed ? native::Departure::kFailed
                                                   : native::Departure::kLeft;
    record_.on_gone(node, how, ending ? Bytes(ending->last_line) : Bytes());
    if (request.gave_up && request.do_not_restart) record_.on_closed(group().failure());
    followers_.note_gone(node, how);
  }
  if (const auto found = seats_.find(node); found != seats_.end()) {
    drop_join(found->second, native::JoinOutcome::kDropped);
    remove_seat(found->second);
  }
  settled();
  return {was_listed, cause_};
}

void Run::close(const native::CloseRunRequest& request) {
  apply(change::CloseRun{id_, std::string(request.reason), request.do_not_restart});
  record_.on_closed(request.reason);
  settled();
}

native::KeepAliveReply Run::keep_alive(Seat& seat) {
  context_.apply(change::KeepAlive{id_, *seat.node});
  native::KeepAliveReply reply;
  reply.known = group().placement(*seat.node).role.has_value();
  reply.changes = clamped(group().membership_changes(*seat.node, seat.round));
  reply.closed = group().state().closed;
  return reply;
}

void Run::cancel_join(Seat& seat) {
  if (!tell_if_over(seat)) give_up_join(seat);
}

void Run::give_up_join(Seat& seat) {
  const NodeId node = *seat.node;
  end_join(seat);
  remove_seat(seat);
  if (context_.apply(change::LeaveRun{id_, node, false})) {
    record_.on_gone(node, native::Departure::kLeft);
    followers_.note_gone(node, native::Departure::kLeft);
  }
  settled();
}

void Run::on_broken(Seat& seat) {
  if (seat.join) end_join(seat);
  unbind(seat);
  record_.on_broken(*seat.node, seat.grace);
  // Counted while the loop is awake: a node that is back may lie unread.
  seat.grace_timer = context_.clock.awake_timers.call_at(context_.clock.awake + seat.grace,
                                                         [this, &seat] { on_grace_over(seat); });
}

void Run::on_grace_over(Seat& seat) {
  seat.grace_timer.reset();
  const NodeId node = *seat.node;
  remove_seat(seat);
  const std::optional<Role> role = group().placement(node).role;
  context_.apply(change::DropNode{id_, node});
  if (role && *role != Role::kDone) {
    record_.on_gone(node, native::Departure::kLost, "its connection broke",
                    group().state().lost.size());
    followers_.note_gone(node, native::Departure::kLost);
  }
  settled();
  keeper_.look_after(*this);
}

// The node's seat, on this connection from now on.
Seat& Run::seat_of(const NodeId& node, RunPeer& peer, uint32_t handle, uint32_t grace_ms) {
  const auto [entry, is_new] = seats_.try_emplace(node);
  Seat& seat = entry->second;
  seat.node = &entry->first;
  if (!is_new) {
    if (seat.join) end_join_as_moved(seat);
    unbind(seat);
  }
  bind(seat, peer, handle);
  seat.grace = std::chrono::milliseconds(grace_ms);
  context_.clock.awake_timers.cancel(seat.grace_timer);
  return seat;
}

void Run::bind(Seat& seat, RunPeer& peer, uint32_t handle) {
  seat.peer = &peer;
  seat.handle = handle;
  peer.ties().add_seat(handle, *this, seat);
  ++connected_;
  if (std::string reached = peer.reached_at(); !reached.empty()) reached_at_ = std::move(reached);
}

// From its connection, if it has one.
void Run::unbind(Seat& seat) {
  if (seat.peer == nullptr) return;
  seat.peer->ties().remove_seat(seat.handle, *this);
  seat.peer = nullptr;
  --connected_;
}

void Run::end_join_as_moved(Seat& seat) {
  RunPeer& peer = *seat.peer;
  const uint64_t tag = seat.join->tag;
  end_join(seat);
  peer.on_join_failed(
      tag, ErrorCode::kState,
      "run " + quoted(id_) + ": join of node " + to_text(*seat.node) + ": the node joined again");
}

void Run::remove_seat(Seat& seat) {
  unbind(seat);
  context_.clock.awake_timers.cancel(seat.grace_timer);
  seats_.erase(NodeId(*seat.node));
}

void Run::end_join(Seat& seat) {
  context_.clock.timers.cancel(seat.join->timer);
  seat.peer->ties().remove_join(seat.join->tag);
  joining_.erase(seat.join->place);
  seat.join.reset();
}

void Run::place(Seat& seat, uint32_t rank) {
  const GroupState& state = group().state();
  native::JoinReply reply;
  reply.round = state.round;
  reply.rank = rank;
  reply.world_size = state.world_size;
  reply.first = wire_node(first_);
  reply.before = node_at((rank + state.world_size - 1) % state.world_size);
  reply.after = node_at((rank + 1) % state.world_size);
  reply.waiting = static_cast<uint32_t>(state.roster.count(Role::kWaiting));
  reply.spares = static_cast<uint32_t>(state.roster.count(Role::kSpare));
  reply.changes = clamped(group().changes());
  seat.round = state.round;
  seat.outlasts = 0;
  const uint64_t tag = seat.join->tag;
  end_join(seat);
  seat.peer->on_joined(tag, reply);
}

native::RunNode Run::node_at(uint32_t rank) const {
  const NodeId* node = group().state().roster.at_rank(rank);
  return node == nullptr ? native::RunNode() : wire_node(*node);
}

void Run::note_first() {
  const NodeId* first = group().state().roster.at_rank(0);
  if (first != nullptr && group().placement(*first).role == Role::kActive) {
    first_ = *first;
  } else {
    first_ = group().state().roster.expected().contains(0) ? stand_in(0) : NodeId();
  }
}

void Run::drop_join(Seat& seat, native::JoinOutcome outcome) {
  if (!seat.join) return;
  native::JoinReply reply;
  reply.outcome = outcome;
  reply.round = outcome == native::JoinOutcome::kFinished ? group().state().finished_round : 0;
  const uint64_t tag = seat.join->tag;
  end_join(seat);
  seat.peer->on_joined(tag, reply);
}

void Run::on_join_deadline(Seat& seat) {
  const Instant due = std::exchange(seat.join->timer, std::nullopt)->first;
  if (tell_if_due(seat)) {
    keeper_.look_after(*this);
    return;
  }
  if (seat.join->is_spare) {
    drop_join(seat, native::JoinOutcome::kSpare);
    return;
  }
  const std::string text = timeout_text(seat, due);
  RunPeer& peer = *seat.peer;
  const uint64_t tag = seat.join->tag;
  record_.on_timed_out(*seat.node, seat.join->timeout, text);
  give_up_join(seat);
  peer.on_join_failed(tag, ErrorCode::kTimeout, text);
  keeper_.look_after(*this);
}

std::string Run::timeout_text(const Seat& seat, Instant due) {
  constexpr Duration kSnapshotKept = std::chrono::seconds(1);
  const bool forming = group().placement(*seat.node).role == Role::kForming;
  std::optional<Snapshot>& snapshot = snapshots_[forming ? 1 : 0];
  const bool was_there = snapshot && due - seat.join->timeout <= snapshot->at;
  if (!was_there || due - snapshot->at > kSnapshotKept) {
    snapshot = {due, who_is_there(group().state(), forming),
                names_of_who_is_there(group().state(), forming)};
  }
  return join_timeout_text(id_, snapshot->who, snapshot->names, forming, seat.join->timeout);
}

}  // namespace rdzv
