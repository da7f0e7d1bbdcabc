#include "client/run_client.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "client/native_answer.h"
#include "wire/limits.h"

namespace rdzv {
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

NativeStore::Request RunClient::request(Duration timeout, bool is_timed) const {
  NativeStore::Request request{run_id_, timeout, false, is_timed};
  request.key_is = "run";
  return request;
}

RunClient::Joined RunClient::join(uint64_t after_round, Duration timeout) {
  NativeStore::Request join = request(timeout, true);
  join.is_write = true;
  try {
    NativeStore::Answer reply(
        *link_, join,
        native::JoinRequest{0, run_id_, wire_node(), settings_, after_round, grace_ms_, kHandle});
    return {false,         reply.outcome,    reply.round,
            reply.rank,    reply.world_size, own(reply.first),
            reply.waiting, reply.spares,     reply.changes};
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kTimeout || !join.answered) throw;
    Joined joined;
    joined.timed_out = true;
    return joined;
  }
}

bool RunClient::leave(bool failed, Duration timeout) {
  NativeStore::Request leave = request(timeout, false);
  leave.is_sign_of_life = true;
  native::LeaveRequest body;
  body.run_id = run_id_;
  body.node = wire_node();
  body.failed = failed;
  return NativeStore::Answer(*link_, leave, body).was_listed;
}

std::string RunClient::give_up(const Ending& ending, Duration timeout) {
  NativeStore::Request leave = request(timeout, false);
  leave.is_sign_of_life = true;
  const std::string line = ending.last_line.substr(0, limits::kLastLineBytesMax);
  NativeStore::Answer reply(
      *link_, leave,
      native::LeaveRequest{run_id_, wire_node(), true, true,
                           static_cast<uint32_t>(ending.exit_code), ending.unix_ms, line});
  return std::string(reply.cause);
}

native::KeepAliveReply RunClient::keep_alive(Duration timeout) {
  NativeStore::Request keep_alive = request(timeout, false);
  keep_alive.is_sign_of_life = true;
  return NativeStore::Answer(*link_, keep_alive, native::KeepAliveRequest{kHandle});
}

void RunClient::close_run(Duration timeout) {
  NativeStore::Request close = request(timeout, false);
  NativeStore::Answer(*link_, close, native::CloseRunRequest{run_id_});
}

RunClient::Status RunClient::status(Duration timeout) {
  NativeStore::Request status = request(timeout, false);
  NativeStore::Answer reply(*link_, status, native::StatusRequest{run_id_, wire_node()});
  Status found;
  static_cast<native::StatusReply&>(found) = reply;
  found.cause = std::string(reply.cause);
  found.native::StatusReply::cause = {};
  return found;
}

native::SubscribeReply RunClient::subscribe(uint64_t round, uint32_t known_changes,
                                            bool known_closed, Duration timeout) {
  NativeStore::Request subscribe = request(timeout, true);
  subscribe.is_write = true;
  return NativeStore::Answer(
      *link_, subscribe,
      native::SubscribeRequest{0, run_id_, wire_node(), round, known_changes, known_closed});
}

// Page by page: who joins or goes meanwhile may be missing.
std::vector<RunClient::Member> RunClient::members(native::MemberList which, size_t limit,
                                                  Duration timeout) {
  const Deadline deadline = Deadline::after(timeout);
  std::vector<Member> found;
  std::string cursor;
  do {
    NativeStore::Request members = request(deadline.left(), false);
    const size_t page = std::min(limit - found.size(), limits::kMembersPerReplyMax);
    NativeStore::Answer reply(
        *link_, members,
        native::MembersRequest{run_id_, which, cursor, static_cast<uint32_t>(page)});
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
  NativeStore::Request resume = request(timeout, false);
  return NativeStore::Answer(
      *link_, resume,
      native::ResumeRequest{run_id_, wire_node(), settings_, place.round, place.rank,
                            place.world_size, grace_ms_, kHandle});
}

}  // namespace rdzv
