#include "client/run_client.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "client/native_request.h"
#include "wire/limits.h"

namespace rdzv {

using native::Operation;

namespace {

// One node a connection, so any number will do.
constexpr uint32_t kHandle = 1;

RunClient::Node own(const native::RunNode& node) {
  return {std::string(node.addr), node.pid, node.local_id};
}

uint32_t milliseconds(Duration duration) {
  constexpr int64_t kMax = UINT32_MAX;
  auto ms = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
  return static_cast<uint32_t>(std::clamp<int64_t>(ms, 0, kMax));
}

// An answer that is not as the protocol says is an error, not a guess.
void check_taken(bool taken, const NativeStore::Request& request, const NativeStore& link) {
  if (taken) return;
  throw Error(ErrorCode::kProtocol,
              request.describe(link) + ": the server's answer cannot be read");
}

}  // namespace

RunClient::RunClient(const TCPStore& store, std::string run_id, Node node,
                     native::RunSettings settings, Duration grace)
    : link_(store.native_sibling()),
      run_id_(std::move(run_id)),
      node_(std::move(node)),
      settings_(settings),
      grace_ms_(milliseconds(grace)) {
  if (run_id_.empty() || run_id_.size() > limits::kRunIdBytesMax) {
    throw Error(ErrorCode::kInvalidArgument,
                "a run id has 1 to " + std::to_string(limits::kRunIdBytesMax) +
                    " bytes; this one has " + std::to_string(run_id_.size()));
  }
}

NativeStore::Request RunClient::request(Operation operation, Duration timeout,
                                        bool is_timed) const {
  NativeStore::Request request{operation, run_id_, timeout, false, is_timed};
  request.key_is = "run";
  return request;
}

RunClient::Joined RunClient::join(uint64_t after_round, Duration timeout) {
  NativeStore::Request join = request(Operation::kJoin, timeout, true);
  join.is_write = true;
  native::put_join(join.body,
                   {0, run_id_, wire_node(), settings_, after_round, grace_ms_, kHandle});
  std::string body;
  try {
    body = link_->run(join);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kTimeout || !join.answered) throw;
    Joined joined;
    joined.timed_out = true;
    return joined;
  }
  native::JoinReply reply;
  check_taken(native::take_join_reply(body, reply), join, *link_);
  return {false,         reply.outcome,    reply.round,
          reply.rank,    reply.world_size, own(reply.first),
          reply.waiting, reply.spares,     reply.changes};
}

bool RunClient::leave(bool failed, Duration timeout) {
  NativeStore::Request leave = request(Operation::kLeave, timeout, false);
  leave.is_sign_of_life = true;
  native::put_leave(leave.body, {run_id_, wire_node(), failed});
  native::LeaveReply reply;
  check_taken(native::take_leave_reply(link_->run(leave), reply), leave, *link_);
  return reply.was_listed;
}

native::KeepAliveReply RunClient::keep_alive(Duration timeout) {
  NativeStore::Request keep_alive = request(Operation::kKeepAlive, timeout, false);
  keep_alive.is_sign_of_life = true;
  native::put_keep_alive(keep_alive.body, {kHandle});
  native::KeepAliveReply reply;
  check_taken(native::take_keep_alive_reply(link_->run(keep_alive), reply), keep_alive, *link_);
  return reply;
}

void RunClient::close_run(Duration timeout) {
  NativeStore::Request close = request(Operation::kCloseRun, timeout, false);
  native::put_close_run(close.body, {run_id_});
  check_taken(link_->run(close).empty(), close, *link_);
}

native::StatusReply RunClient::status(Duration timeout) {
  NativeStore::Request status = request(Operation::kStatus, timeout, false);
  native::put_status(status.body, {run_id_, wire_node()});
  native::StatusReply reply;
  check_taken(native::take_status_reply(link_->run(status), reply), status, *link_);
  return reply;
}

native::SubscribeReply RunClient::subscribe(uint64_t round, uint32_t known_changes,
                                            bool known_closed, Duration timeout) {
  NativeStore::Request subscribe = request(Operation::kSubscribe, timeout, true);
  subscribe.is_write = true;
  native::put_subscribe(subscribe.body,
                        {0, run_id_, wire_node(), round, known_changes, known_closed});
  native::SubscribeReply reply;
  check_taken(native::take_subscribe_reply(link_->run(subscribe), reply), subscribe, *link_);
  return reply;
}

// Page by page: who joins or goes meanwhile may be missing.
std::vector<RunClient::Member> RunClient::members(native::MemberList which, size_t limit,
                                                  Duration timeout) {
  const Deadline deadline = Deadline::after(timeout);
  std::vector<Member> found;
  std::string cursor;
  do {
    NativeStore::Request members = request(Operation::kMembers, deadline.left(), false);
    const size_t page = std::min(limit - found.size(), limits::kMembersPerReplyMax);
    native::put_members(members.body, {run_id_, which, cursor, static_cast<uint32_t>(page)});
    const std::string body = link_->run(members);
    native::MembersReply reply;
    check_taken(native::take_members_reply(body, reply), members, *link_);
    for (const native::MembersReply::Item& item : reply.items)
      found.push_back({own(item.node), item.rank});
    cursor = reply.cursor;
  } while (!cursor.empty() && found.size() < limit);
  // The server lists the participants of a complete round by name, and its stand-ins among them.
  if (which == native::MemberList::kParticipants) {
    std::stable_sort(found.begin(), found.end(),
                     [](const Member& a, const Member& b) { return a.rank < b.rank; });
  }
  return found;
}

native::ResumeReply RunClient::resume(const Place& place, Duration timeout) {
  NativeStore::Request resume = request(Operation::kResume, timeout, false);
  native::put_resume(resume.body, {run_id_, wire_node(), settings_, place.round, place.rank,
                                   place.world_size, grace_ms_, kHandle});
  native::ResumeReply reply;
  check_taken(native::take_resume_reply(link_->run(resume), reply), resume, *link_);
  return reply;
}

}  // namespace rdzv
