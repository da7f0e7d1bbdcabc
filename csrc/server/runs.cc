#include "server/runs.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "server/context.h"
#include "server/run_text.h"
#include "wire/limits.h"

namespace rdzv {
namespace {

// A job that is started again after that begins with round 1.
constexpr Duration kIdleRunKept = std::chrono::hours(24);

}  // namespace

Runs::Runs(ServerContext& context) : context_(context), runs_(0, BytesHash{context.seed}) {}

Runs::~Runs() = default;

void Runs::join(RunPeer& peer, uint64_t tag, const native::JoinRequest& request) {
  check_handle(peer, request.handle, request.run_id, request.node, "join");
  change(request.run_id, "join", [&](Run& run) { run.join(peer, tag, request, now()); });
}

native::ResumeReply Runs::resume(RunPeer& peer, const native::ResumeRequest& request) {
  check_handle(peer, request.handle, request.run_id, request.node, "resume");
  native::ResumeReply reply;
  change(request.run_id, "resume", [&](Run& run) { reply = run.resume(peer, request, now()); });
  return reply;
}

void Runs::close(const native::CloseRunRequest& request) {
  change(request.run_id, "close", [](Run& run) { run.close(now()); });
}

void Runs::subscribe(RunPeer& peer, uint64_t tag, const native::SubscribeRequest& request) {
  Run& run = find_or_create(request.run_id, "subscribe");
  run.subscribe(peer, tag, request, now());
  release_if_idle(run);
}

native::LeaveReply Runs::leave(const native::LeaveRequest& request) {
  native::LeaveReply reply;
  Run* run = find(request.run_id);
  if (run == nullptr) return reply;
  reply.was_listed = run->leave(node_of(request.node), request.failed, now());
  release_if_idle(*run);
  return reply;
}

native::KeepAliveReply Runs::keep_alive(RunPeer& peer, uint32_t handle) {
  const auto found = peer.seats_.find(handle);
  if (found == peer.seats_.end()) return {false, 1, false};
  return found->second->run->keep_alive(*found->second, now());
}

native::StatusReply Runs::status(const native::StatusRequest& request) {
  const Run* run = find(request.run_id);
  return run == nullptr ? native::StatusReply{} : run->status(node_of(request.node), now());
}

bool Runs::cancel(RunPeer& peer, uint64_t tag) {
  if (const auto found = peer.subscriptions_.find(tag); found != peer.subscriptions_.end()) {
    Run& run = *found->second->run;
    run.unsubscribe(*found->second);
    release_if_idle(run);
    return true;
  }
  const auto found = peer.joins_.find(tag);
  if (found == peer.joins_.end()) return false;
  Run& run = *found->second->run;
  run.give_up_join(*found->second, now());
  release_if_idle(run);
  return true;
}

void Runs::on_closed(RunPeer& peer) {
  while (!peer.subscriptions_.empty()) {
    Subscription& subscription = *peer.subscriptions_.begin()->second;
    Run& run = *subscription.run;
    run.unsubscribe(subscription);
    release_if_idle(run);
  }
  while (!peer.seats_.empty()) {
    Seat& seat = *peer.seats_.begin()->second;
    seat.run->on_broken(seat);
  }
}

const Run* Runs::find(Bytes id) const {
  const auto found = runs_.find(id);
  return found == runs_.end() ? nullptr : found->second.get();
}

Run* Runs::find(Bytes id) {
  const auto found = runs_.find(id);
  return found == runs_.end() ? nullptr : found->second.get();
}

Run& Runs::find_or_create(Bytes id, const char* operation) {
  if (Run* run = find(id)) return *run;
  const std::string what(operation);
  if (id.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                what + ": the run id is empty; give every node of the job the same name");
  }
  if (runs_.size() >= limits::kRunsMax) {
    throw Error(ErrorCode::kLimit, what + ": run " + quoted(id) + ": this server keeps " +
                                       std::to_string(runs_.size()) + " runs, and takes no more");
  }
  auto made = std::make_unique<Run>(*this, context_.loop, context_.seed, id);
  return *runs_.emplace(std::string(id), std::move(made)).first->second;
}

// Of a run that is the server's own from then on: compare-and-set clients see it by their key.
template <typename Action>
void Runs::change(Bytes run_id, const char* operation, Action&& action) {
  Run& run = find_or_create(run_id, operation);
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
  if (peer.seats_.size() >= limits::kNodesPerConnectionMax) {
    throw Error(ErrorCode::kLimit, std::string(operation) + ": more than " +
                                       std::to_string(limits::kNodesPerConnectionMax) +
                                       " nodes on one connection");
  }
}

void Runs::log(LogLevel level, const std::string& text) const {
  rdzv::log(level, context_.name + ": " + text);
}

void Runs::release_if_idle(Run& run) {
  if (!run.is_idle()) {
    if (run.idle_) idle_.erase(*std::exchange(run.idle_, std::nullopt));
    return;
  }
  if (!run.is_taken_) {
    forget(run);
    return;
  }
  if (run.idle_) return;
  run.idle_ = idle_.insert(idle_.end(), &run);
  run.idle_since_ = now();
  if (idle_.size() > limits::kIdleRunsMax) forget(*idle_.front());
  arm_idle_timer();
}

void Runs::forget(Run& run) {
  if (run.idle_) idle_.erase(*run.idle_);
  if (run.is_taken_) {
    const Table::Value* value = context_.table.find(run.key_);
    if (value != nullptr && value->bytes == native::kRunMarker) {
      context_.table.erase(run.key_);
      context_.wake();
    }
  }
  runs_.erase(std::string(run.id()));
}

void Runs::arm_idle_timer() {
  if (idle_timer_ || idle_.empty()) return;
  idle_timer_ = context_.loop.call_at(idle_.front()->idle_since_ + kIdleRunKept, [this] {
    idle_timer_.reset();
    const Instant current = now();
    while (!idle_.empty() && current - idle_.front()->idle_since_ >= kIdleRunKept)
      forget(*idle_.front());
    arm_idle_timer();
  });
}

}  // namespace rdzv
