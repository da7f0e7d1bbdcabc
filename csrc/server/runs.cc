#include "server/runs.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "server/context.h"
#include "server/run_text.h"
#include "wire/limits.h"

namespace rdzv {
namespace {

std::string seconds_of(uint64_t ms) {
  // As long as it is, for messages: what a peer may say does not fit a Duration.
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + " s" : std::to_string(ms) + " ms";
}

}  // namespace

Runs::Runs(ServerContext& context)
    : context_(context), memory_(&context.memory.runs), runs_(0, BytesHash{context.state.seed()}) {}

Runs::~Runs() {
  context_.clock.timers.cancel(idle_timer_);
}

void Runs::join(RunPeer& peer, uint64_t tag, const native::JoinRequest& request) {
  check_handle(peer, request.handle, request.run_id, request.node, "join");
  check_times(request.grace_ms, request.settings, "join");
  const NodeId node = node_of(request.node);
  change(&peer, request.run_id, "join", &node,
         [&](Run& run) { run.join(peer, tag, node, request); });
}

native::ResumeReply Runs::resume(RunPeer& peer, const native::ResumeRequest& request) {
  check_handle(peer, request.handle, request.run_id, request.node, "resume");
  check_times(request.grace_ms, request.settings, "resume");
  native::ResumeReply reply;
  const NodeId node = node_of(request.node);
  change(&peer, request.run_id, "resume", &node,
         [&](Run& run) { reply = run.resume(peer, node, request); });
  return reply;
}

void Runs::close(const native::CloseRunRequest& request) {
  change(nullptr, request.run_id, "close", nullptr, [&](Run& run) { run.close(request); });
}

void Runs::subscribe(RunPeer& peer, uint64_t tag, const native::SubscribeRequest& request) {
  Kept& run = find_or_create(&peer, request.run_id, "subscribe", Use::kLook);
  run.subscribe(peer, tag, request);
  release_if_idle(run);
}

void Runs::follow(RunPeer& peer, uint64_t tag, const native::FollowRequest& request) {
  Kept& run = find_or_create(&peer, request.run_id, "follow", Use::kLook);
  run.followers().follow(peer, tag, request);
  release_if_idle(run);
}

native::LeaveReply Runs::leave(const native::LeaveRequest& request) {
  const auto found = runs_.find(request.run_id);
  if (found == runs_.end()) return {};
  native::LeaveReply reply = found->second->leave(request);
  left_cause_ = reply.cause;
  reply.cause = left_cause_;
  release_if_idle(*found->second);
  return reply;
}

native::KeepAliveReply Runs::keep_alive(const RunPeer& peer, uint32_t handle) {
  const RunTies::Place* place = peer.ties().seat(handle);
  if (place == nullptr) return {false, 1, false};
  return place->run->keep_alive(*place->seat);
}

native::StatusReply Runs::status(const native::StatusRequest& request) const {
  const Run* run = find(request.run_id);
  return run == nullptr ? native::StatusReply{} : run->status(node_of(request.node));
}

void Runs::cancel(const RunPeer& peer, uint64_t tag) {
  const RunTies::Place* place = peer.ties().wait(tag);
  if (place == nullptr) return;
  Run& run = *place->run;
  if (place->subscription != nullptr) {
    run.unsubscribe(*place->subscription);
  } else if (place->follower != nullptr) {
    run.followers().end(*place->follower);
  } else {
    run.cancel_join(*place->seat);
  }
  look_after(run);
}

bool Runs::leave(const RunPeer& peer, Budget& budget) {
  const RunTies& ties = peer.ties();
  for (; ties.runs() > 0; budget.spend(Budget::kLeave)) {
    if (budget.is_spent()) return false;
    const RunTies::Place& place = ties.waits() > 0 ? *ties.any_wait() : *ties.any_seat();
    Run& run = *place.run;
    if (place.subscription != nullptr) {
      run.unsubscribe(*place.subscription);
    } else if (place.follower != nullptr) {
      run.followers().end(*place.follower);
    } else {
      run.on_broken(*place.seat);
    }
    look_after(run);
  }
  return true;
}

const Run* Runs::find(Bytes id) const {
  const auto found = runs_.find(id);
  return found == runs_.end() ? nullptr : found->second.get();
}

Runs::Kept& Runs::find_or_create(const RunPeer* peer, Bytes id, const char* operation, Use use,
                                 const NodeId* node) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::kLimit, std::string(operation) + ": run " + quoted(id) + ": " + why);
  };
  const ServerLimits& limits = context_.limits;
  const auto found = runs_.find(id);
  Kept* run = found == runs_.end() ? nullptr : found->second.get();
  const bool is_in_it = peer != nullptr && run != nullptr && peer->ties().is_in(*run);
  if (peer != nullptr && !is_in_it && peer->ties().runs() >= limits.runs_per_connection) {
    refuse("this connection already uses " + std::to_string(peer->ties().runs()) +
           " runs; the server's limit is runs_per_connection");
  }
  Need need;
  if (run == nullptr) need.bytes += kRunBytes;
  if (use == Use::kEnter && (run == nullptr || !run->has_place(*node))) need.bytes += kRunNodeBytes;
  need.is_run = use != Use::kLook && (run == nullptr || !run->is_held());
  if (const auto why = make_room(need, run, use)) {
    refuse("no room is left for runs, of which " + std::to_string(runs_.size()) +
           " are kept here; " + *why);
  }
  if (run != nullptr) return *run;
  if (id.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                std::string(operation) +
                    ": the run id is empty; give every node of the job the same run id");
  }
  RunKeeper& keeper = *this;
  auto made = std::make_unique<Kept>(context_, keeper, id);
  made->counted = Charge(&context_.memory.counts.runs);
  made->droppable = Charge(&droppable_);
  return *runs_.emplace(std::string(id), std::move(made)).first->second;
}

template <typename Action>
void Runs::change(RunPeer* peer, Bytes run_id, const char* operation, const NodeId* node,
                  Action&& action) {
  const Use use = node == nullptr ? Use::kChange : Use::kEnter;
  Kept& run = find_or_create(peer, run_id, operation, use, node);
  try {
    action(run);
    if (run.is_held()) run.counted.resize(1);
    context_.wake();  // who waits for the key of the run
  } catch (const Error& error) {
    run.note_refused(error.message());
    release_if_idle(run);
    throw Error(error.code(), "run " + quoted(run_id) + ": " + error.message());
  }
  release_if_idle(run);
}

void Runs::check_handle(const RunPeer& peer, uint32_t handle, Bytes run_id,
                        const native::RunNode& node, const char* operation) const {
  if (const RunTies::Place* place = peer.ties().seat(handle)) {
    const NodeId& named = *place->seat->node;
    if (place->run->id() == run_id && named == node_of(node)) return;
    throw Error(ErrorCode::kInvalidArgument,
                std::string(operation) + ": handle " + std::to_string(handle) +
                    " belongs to another node on this connection: " + to_text(named) + " of run " +
                    quoted(place->run->id()));
  }
  if (peer.ties().seats() >= context_.limits.nodes_per_connection) {
    throw Error(ErrorCode::kLimit, std::string(operation) + ": more than " +
                                       std::to_string(context_.limits.nodes_per_connection) +
                                       " nodes on one connection; the server's limit is "
                                       "nodes_per_connection");
  }
}

// For as long as any of these a run is kept although nobody does anything for it.
void Runs::check_times(uint32_t grace_ms, const native::RunSettings& settings,
                       const char* operation) const {
  const auto check = [&](const std::string& what, uint64_t ms, uint64_t times, uint64_t limit,
                         const char* name) {
    if (times == 0 || ms <= limit / times) return;
    throw Error(ErrorCode::kLimit, std::string(operation) + ": a " + what + " of " +
                                       (times > 1 ? std::to_string(times) + " x " : "") +
                                       seconds_of(ms) + " is longer than the " + seconds_of(limit) +
                                       " that this server allows; its limit is " + name);
  };
  const ServerLimits& limits = context_.limits;
  check("grace", grace_ms, 1, limits.grace_ms, "grace_ms");
  check("keep-alive window", settings.keep_alive_interval_ms, settings.keep_alive_max_attempt,
        limits.keep_alive_window_ms, "keep_alive_window_ms");
  check("last call", settings.last_call_ms, 1, limits.last_call_ms, "last_call_ms");
}

}  // namespace rdzv
