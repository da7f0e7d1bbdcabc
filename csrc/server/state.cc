#include "server/state.h"

#include <utility>

#include "base/error.h"
#include "server/run_text.h"
#include "wire/run_messages.h"

namespace rdzv {

ServerState::ServerState(HashSeed seed, size_t keys_at_first, uint64_t behind) : seed_(seed) {
  if (keys_at_first > 0) table_.reserve(keys_at_first);
  table_.restore_version(behind);
  table_.index_names();
}

const Group* ServerState::run(Bytes id) const {
  const auto found = runs_.find(id);
  return found == runs_.end() ? nullptr : &found->second.group;
}

bool ServerState::sweep(Bytes run, size_t max) {
  const auto found = runs_.find(run);
  return found == runs_.end() || found->second.group.sweep(max);
}

template <typename Act>
auto ServerState::change_run(Bytes id, const char* operation, Act&& act) {
  auto found = runs_.find(id);
  const bool is_new = found == runs_.end();
  if (is_new) {
    std::string key = std::string(native::kRunKeyPrefix).append(id);
    found = runs_.emplace(std::string(id), Run{std::move(key), Group(seed_)}).first;
  }
  try {
    Run& run = found->second;
    const Table::Value* value = table_.find(run.key);
    const bool is_marked = value != nullptr && value->bytes == native::kRunMarker;
    if (value != nullptr && !is_marked && value->bytes != native::kRunNothingYet)
      throw Error(ErrorCode::kState, mixed_text(operation));
    auto effect = act(run.group);
    if (!is_marked) table_.set(run.key, native::kRunMarker);
    return effect;
  } catch (...) {
    if (is_new) runs_.erase(found);
    throw;
  }
}

ServerState::Nothing ServerState::make(const change::JoinRun& join, const Moment& time) {
  return change_run(join.run, "join", [&](Group& group) {
    group.join(join.node, join.settings, join.after_round, time.now, join.facts);
    return Nothing();
  });
}

Resumed ServerState::make(const change::ResumeRun& resume, const Moment& time) {
  return change_run(resume.run, "resume", [&](Group& group) {
    return group.resume(resume.node, resume.settings, resume.round, resume.rank, resume.world_size,
                        time.now, resume.facts);
  });
}

ServerState::Nothing ServerState::make(const change::CloseRun& close, const Moment&) {
  return change_run(close.run, "close", [&](Group& group) {
    group.close(close.reason, 0, close.do_not_restart);
    return Nothing();
  });
}

// Those that follow change a run that is there, or nothing.
bool ServerState::make(const change::LeaveRun& leave, const Moment& time) {
  const auto found = runs_.find(leave.run);
  if (found == runs_.end()) return false;
  Group& group = found->second.group;
  const std::optional<Role> role = group.placement(leave.node).role;
  if (leave.ending) {
    group.give_up(leave.node, *leave.ending, time.now, leave.do_not_restart);
  } else {
    group.leave(leave.node, leave.failed, time.now);
  }
  return role && *role != Role::kDone;
}

ServerState::Nothing ServerState::make(const change::KeepAlive& keep_alive, const Moment& time) {
  const auto found = runs_.find(keep_alive.run);
  if (found != runs_.end()) found->second.group.keep_alive(keep_alive.node, time.now);
  return {};
}

ServerState::Nothing ServerState::make(const change::DropNode& drop, const Moment& time) {
  const auto found = runs_.find(drop.run);
  if (found != runs_.end()) found->second.group.drop(drop.node, time.now);
  return {};
}

std::vector<NodeId> ServerState::make(const change::ExpireRun& expire, const Moment& time) {
  const auto found = runs_.find(expire.run);
  if (found == runs_.end()) return {};
  return found->second.group.expire(time.now, expire.max);
}

ServerState::Nothing ServerState::make(const change::ForgetRun& forget, const Moment&) {
  const auto found = runs_.find(forget.run);
  if (found == runs_.end()) return {};
  const std::string& key = found->second.key;
  const Table::Value* value = table_.find(key);
  if (value != nullptr && value->bytes == native::kRunMarker) table_.erase(key);
  runs_.erase(found);
  return {};
}

}  // namespace rdzv
