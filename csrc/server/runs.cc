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

Runs::Runs(ServerContext& context) : context_(context), runs_(0, BytesHash{context.seed}) {}

Runs::~Runs() = default;

void Runs::join(RunPeer& peer, uint64_t tag, const native::JoinRequest& request) {
  check_handle(peer, request.handle, request.run_id, request.node, "join");
  check_times(request.grace_ms, request.settings, "join");
  change(&peer, request.run_id, "join",
         [&](Run& run) { run.join(peer, tag, request, context_.time.now); });
}

native::ResumeReply Runs::resume(RunPeer& peer, const native::ResumeRequest& request) {
  check_handle(peer, request.handle, request.run_id, request.node, "resume");
  check_times(request.grace_ms, request.settings, "resume");
  native::ResumeReply reply;
  change(&peer, request.run_id, "resume",
         [&](Run& run) { reply = run.resume(peer, request, context_.time.now); });
  return reply;
}

void Runs::close(const native::CloseRunRequest& request) {
  change(nullptr, request.run_id, "close", [&](Run& run) { run.close(context_.time.now); });
}

void Runs::subscribe(RunPeer& peer, uint64_t tag, const native::SubscribeRequest& request) {
  Run& run = find_or_create(&peer, request.run_id, "subscribe");
  run.subscribe(peer, tag, request, context_.time.now);
  release_if_idle(run);
}

native::LeaveReply Runs::leave(const native::LeaveRequest& request) {
  native::LeaveReply reply;
  Run* run = find(request.run_id);
  if (run == nullptr) return reply;
  reply = run->leave(request, context_.time.now);
  left_cause_ = reply.cause;
  reply.cause = left_cause_;
  release_if_idle(*run);
  return reply;
}

native::KeepAliveReply Runs::keep_alive(RunPeer& peer, uint32_t handle) {
  const auto found = peer.seats_.find(handle);
  if (found == peer.seats_.end()) return {false, 1, false};
  return found->second->run->keep_alive(*found->second, context_.time.now);
}

native::StatusReply Runs::status(const native::StatusRequest& request) {
  const Run* run = find(request.run_id);
  return run == nullptr ? native::StatusReply{}
                        : run->status(node_of(request.node), context_.time.now);
}

void Runs::cancel(RunPeer& peer, uint64_t tag) {
  if (const auto found = peer.subscriptions_.find(tag); found != peer.subscriptions_.end()) {
    Run& run = *found->second->run;
    run.unsubscribe(*found->second);
    release_if_idle(run);
    return;
  }
  const auto found = peer.joins_.find(tag);
  if (found == peer.joins_.end()) return;
  Run& run = *found->second->run;
  // Of one that is placed already the others count on it, told or not.
  if (!run.tell_if_due(*found->second)) run.give_up_join(*found->second, context_.time.now);
  release_if_idle(run);
}

bool Runs::leave(RunPeer& peer, Budget& budget) {
  for (; !peer.subscriptions_.empty(); budget.spend(Budget::kLeave)) {
    if (budget.is_spent()) return false;
    Subscription& subscription = *peer.subscriptions_.begin()->second;
    Run& run = *subscription.run;
    run.unsubscribe(subscription);
    release_if_idle(run);
  }
  for (; !peer.seats_.empty(); budget.spend(Budget::kLeave)) {
    if (budget.is_spent()) return false;
    Seat& seat = *peer.seats_.begin()->second;
    Run& run = *seat.run;
    run.on_broken(seat);
    release_if_idle(run);
  }
  return true;
}

const Run* Runs::find(Bytes id) const {
  const auto found = runs_.find(id);
  return found == runs_.end() ? nullptr : found->second.get();
}

Run* Runs::find(Bytes id) {
  const auto found = runs_.find(id);
  return found == runs_.end() ? nullptr : found->second.get();
}

Run& Runs::find_or_create(const RunPeer* peer, Bytes id, const char* operation) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::kLimit, std::string(operation) + ": run " + quoted(id) + ": " + why);
  };
  const ServerLimits& limits = context_.limits;
  Run* run = find(id);
  const bool is_in_it = peer != nullptr && run != nullptr && peer->runs_.contains(run);
  if (peer != nullptr && !is_in_it && peer->runs_.size() >= limits.runs_per_connection) {
    refuse("this connection has to do with " + std::to_string(peer->runs_.size()) +
           " runs already; the server's limit is runs_per_connection");
  }
  if (!make_room(run)) {
    refuse("this server keeps " + std::to_string(runs_.size()) + " runs of " +
           std::to_string(context_.memory.runs.used()) +
           " bytes, and takes no more: its limits are runs " + std::to_string(limits.runs) +
           " and run_bytes " + std::to_string(limits.run_bytes));
  }
  if (run != nullptr) return *run;
  if (id.empty()) {
    throw Error(
        ErrorCode::kInvalidArgument,
        std::string(operation) + ": the run id is empty; give every node of the job the same name");
  }
  auto made = std::make_unique<Run>(context_, id);
  return *runs_.emplace(std::string(id), std::move(made)).first->second;
}

// Of a run that is the server's own from then on: compare-and-set clients see it by their key.
template <typename Action>
void Runs::change(RunPeer* peer, Bytes run_id, const char* operation, Action&& action) {
  Run& run = find_or_create(peer, run_id, operation);
  try {
    const Table::Value* value = context_.table.find(run.key_);
    const bool is_marked = value != nullptr && value->bytes == native::kRunMarker;
    if (value != nullptr && !is_marked && value->bytes != native::kRunNothingYet)
      throw Error(ErrorCode::kState, mixed_text(operation));
    action(run);
    run.is_taken_ = true;
    if (!is_marked) {
      context_.table.set(run.key_, native::kRunMarker);
      context_.wake();
    }
  } catch (const Error& error) {
    release_if_idle(run);
    throw Error(error.code(), "run " + quoted(run_id) + ": " + error.message());
  }
  release_if_idle(run);
}

void Runs::check_handle(const RunPeer& peer, uint32_t handle, Bytes run_id,
                        const native::RunNode& node, const char* operation) const {
  const auto found = peer.seats_.find(handle);
  if (found != peer.seats_.end()) {
    const Seat& seat = *found->second;
    if (seat.run->id() == run_id && *seat.node == node_of(node)) return;
    throw Error(ErrorCode::kInvalidArgument,
                std::string(operation) + ": the handle " + std::to_string(handle) +
                    " names another node on this connection: " + to_text(*seat.node) + " of run " +
                    quoted(seat.run->id()));
  }
  if (peer.seats_.size() >= context_.limits.nodes_per_connection) {
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

void Runs::log(LogLevel level, const std::string& text) const {
  rdzv::log(level, context_.name + ": " + text);
}

}  // namespace rdzv
