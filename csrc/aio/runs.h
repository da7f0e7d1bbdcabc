// A node's part in a run, made of plain numbers, and results about runs as plain numbers: for Cython.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "aio/result.h"
#include "base/clock.h"
#include "base/error.h"
#include "client/run_operations.h"

namespace rdzv::aio {

// `settings`, `facts`: as messages have them.
inline std::unique_ptr<RunPart> make_part(Bytes run_id, Bytes addr, uint64_t pid, uint64_t local_id,
                                          Bytes settings, Bytes facts, double grace_s) {
  native::RunSettings agreed;
  native::RunFacts own;
  if (!native::take(settings, agreed) || !native::take(facts, own))
    throw Error(ErrorCode::kInvalidArgument, "join: settings or facts of another version");
  return std::make_unique<RunPart>(std::string(run_id), NodeName{std::string(addr), pid, local_id},
                                   agreed, from_seconds(grace_s),
                                   RunFacts{own.rank, std::string(own.topology), own.attempt});
}

// Of who is in no run, and only looks at one.
inline std::unique_ptr<RunPart> make_onlooker(Bytes run_id) {
  return std::make_unique<RunPart>(std::string(run_id), NodeName{}, native::RunSettings{},
                                   Duration::zero());
}

inline native::MemberList member_list(int which) {
  return static_cast<native::MemberList>(which);
}

inline const NodeName& first_of(const NativeResult& result) {
  return in<RunJoined>(result).first;
}
inline const RunLeft& left_in(const NativeResult& result) {
  return in<RunLeft>(result);
}
inline const RunPage& page_in(const NativeResult& result) {
  return in<RunPage>(result);
}
inline const RunFollowed& followed_in(const NativeResult& result) {
  return in<RunFollowed>(result);
}
inline std::string cause_in(const NativeResult& result) {
  return in<RunStatus>(result).cause;
}
inline int how_of(const RunGone& gone) {
  return static_cast<int>(gone.how);
}

// What is shown of a run that is followed.
inline std::vector<uint64_t> numbers_of(const RunFollowed& followed) {
  const RunStatus& status = followed.status;
  return {followed.version,
          status.known,
          status.round,
          status.complete,
          status.closed,
          status.finished_round,
          status.failed,
          status.world_size,
          status.participants,
          status.waiting,
          status.spares,
          status.lost,
          status.settings.min_nodes,
          status.settings.max_nodes,
          status.settings.keep_alive_interval_ms * status.settings.keep_alive_max_attempt};
}

// The numbers of a result about a run, in the order of its fields.
inline std::vector<uint64_t> numbers_of(const NativeResult& result) {
  if (const auto* joined = std::get_if<RunJoined>(&result)) {
    return {static_cast<uint64_t>(joined->outcome),
            joined->round,
            joined->rank,
            joined->world_size,
            joined->waiting,
            joined->spares,
            joined->changes};
  }
  if (const auto* alive = std::get_if<native::KeepAliveReply>(&result))
    return {alive->known, alive->changes, alive->closed};
  if (const auto* news = std::get_if<native::SubscribeReply>(&result))
    return {news->active, news->changes, news->closed};
  if (const auto* resumed = std::get_if<native::ResumeReply>(&result))
    return {resumed->taken, resumed->changes, resumed->closed};
  const auto& status = in<RunStatus>(result);
  return {status.known,
          status.round,
          status.complete,
          status.closed,
          status.finished_round,
          status.world_size,
          status.participants,
          status.waiting,
          status.spares,
          status.lost,
          static_cast<uint64_t>(status.role),
          status.rank,
          status.changes,
          status.suspects,
          status.gave_up,
          status.failed};
}

}  // namespace rdzv::aio
