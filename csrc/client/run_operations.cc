#include "client/run_operations.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "wire/limits.h"

namespace rdzv {
namespace {

// One node a connection, so any number will do.
constexpr uint32_t kHandle = 1;

NodeName own(const native::RunNode& node) {
  return {std::string(node.addr), node.pid, node.local_id};
}

uint32_t milliseconds(Duration duration) {
  constexpr int64_t kMax = UINT32_MAX;
  auto ms = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
  return static_cast<uint32_t>(std::clamp<int64_t>(ms, 0, kMax));
}

NativeRequest request(const RunPart& part, Duration timeout, bool is_timed) {
  NativeRequest request{part.run_id, timeout, false, is_timed};
  request.key_is = "run";
  return request;
}

NativeRequest sign_of_life(const RunPart& part, Duration timeout) {
  NativeRequest sign = request(part, timeout, false);
  sign.is_sign_of_life = true;
  return sign;
}

constexpr auto kLeft = [](const native::LeaveReply& reply, TakenBytes&) {
  return NativeResult(RunLeft{reply.was_listed, std::string(reply.cause)});
};
RunStatus own(const native::StatusReply& reply) {
  RunStatus found;
  static_cast<native::StatusReply&>(found) = reply;
  found.cause = std::string(reply.cause);
  found.native::StatusReply::cause = {};
  found.reached_at = std::string(reply.reached_at);
  found.native::StatusReply::reached_at = {};
  found.close_reason = std::string(reply.close_reason);
  found.native::StatusReply::close_reason = {};
  return found;
}

// A reply without bytes of its own.
constexpr auto kItself = [](const auto& reply, TakenBytes&) { return NativeResult(reply); };

}  // namespace

RunPart::RunPart(std::string id, NodeName peer, native::RunSettings rules, Duration grace,
                 RunFacts own)
    : run_id(std::move(id)),
      node(std::move(peer)),
      settings(rules),
      grace_ms(milliseconds(grace)),
      facts(std::move(own)) {
  if (run_id.empty() || run_id.size() > limits::kRunIdBytesMax) {
    throw Error(ErrorCode::kInvalidArgument,
                "a run id has 1 to " + std::to_string(limits::kRunIdBytesMax) +
                    " bytes; this one has " + std::to_string(run_id.size()));
  }
}

namespace run_operations {

NativeOperation join(const RunPart& part, uint64_t after_round, Duration timeout, bool is_spare) {
  NativeRequest join = request(part, timeout, true);
  join.is_write = true;
  return native_operation(
      std::move(join),
      native::JoinRequest{0, part.run_id, part.wire_node(), part.settings, after_round,
                          part.grace_ms, kHandle, is_spare, part.wire_facts()},
      [](const native::JoinReply& reply, TakenBytes&) {
        return NativeResult(RunJoined{
            false, reply.outcome, reply.round, reply.rank, reply.world_size, own(reply.first),
            own(reply.before), own(reply.after), reply.waiting, reply.spares, reply.changes});
      });
}

NativeOperation leave(const RunPart& part, bool failed, Duration timeout) {
  native::LeaveRequest body;
  body.run_id = part.run_id;
  body.node = part.wire_node();
  body.failed = failed;
  return native_operation(sign_of_life(part, timeout), body, kLeft);
}

NativeOperation give_up(const RunPart& part, const RunEnding& ending, Duration timeout) {
  const std::string line = ending.last_line.substr(0, limits::kLastLineBytesMax);
  return native_operation(sign_of_life(part, timeout),
                          native::LeaveRequest{part.run_id, part.wire_node(), true, true,
                                               static_cast<uint32_t>(ending.exit_code),
                                               ending.unix_ms, line, ending.do_not_restart},
                          kLeft);
}

NativeOperation keep_alive(const RunPart& part, Duration timeout) {
  return native_operation(sign_of_life(part, timeout), native::KeepAliveRequest{kHandle}, kItself);
}

NativeOperation close_run(const RunPart& part, Bytes reason, bool do_not_restart,
                          Duration timeout) {
  return native_operation(
      request(part, timeout, false),
      native::CloseRunRequest{part.run_id, reason.substr(0, limits::kLastLineBytesMax),
                              do_not_restart},
      [](const native::Nothing&, TakenBytes&) { return NativeResult(); });
}

NativeOperation status(const RunPart& part, Duration timeout) {
  return native_operation(
      request(part, timeout, false), native::StatusRequest{part.run_id, part.wire_node()},
      [](const native::StatusReply& reply, TakenBytes&) { return NativeResult(own(reply)); });
}

NativeOperation subscribe(const RunPart& part, uint64_t round, uint32_t known_changes,
                          bool known_closed, Duration timeout) {
  NativeRequest subscribe = request(part, timeout, true);
  subscribe.is_write = true;
  return native_operation(std::move(subscribe),
                          native::SubscribeRequest{0, part.run_id, part.wire_node(), round,
                                                   known_changes, known_closed},
                          kItself);
}

NativeOperation follow(const RunPart& part, uint64_t known_version, Duration timeout) {
  return native_operation(request(part, timeout, true),
                          native::FollowRequest{0, part.run_id, known_version},
                          [](const native::FollowReply& reply, TakenBytes&) {
                            RunFollowed found{reply.version, own(reply.status), {}};
                            for (const native::FollowReply::Gone& gone : reply.gone)
                              found.gone.push_back({own(gone.node), gone.how});
                            return NativeResult(std::move(found));
                          });
}

NativeOperation members(const RunPart& part, native::MemberList which, Bytes cursor, uint32_t limit,
                        Duration timeout) {
  return native_operation(request(part, timeout, false),
                          native::MembersRequest{part.run_id, which, cursor, limit},
                          [](const native::MembersReply& reply, TakenBytes&) {
                            RunPage page;
                            page.cursor = std::string(reply.cursor);
                            for (const native::MembersReply::Item& item : reply.items)
                              page.members.push_back({own(item.node), item.rank, item.silent_ms});
                            return NativeResult(std::move(page));
                          });
}

NativeOperation hosts(const RunPart& part, const std::vector<std::string>& addresses,
                      Duration timeout) {
  native::HostsRequest body;
  for (const std::string& address : addresses) body.addresses.push_back({address});
  return native_operation(request(part, timeout, false), body,
                          [](const native::HostsReply& reply, TakenBytes&) {
                            static constexpr const char* kStates[] = {"never", "was", "is"};
                            std::vector<std::string> states;
                            for (const native::HostsReply::Item& item : reply.states)
                              states.emplace_back(kStates[static_cast<size_t>(item.state)]);
                            return NativeResult(std::move(states));
                          });
}

NativeOperation timeline(const RunPart& part, Bytes run_id, uint64_t from, Duration timeout) {
  return native_operation(
      request(part, timeout, false), native::TimelineRequest{run_id, from},
      [](const native::TimelineReply& reply, TakenBytes&) {
        const auto duration = [](uint64_t us) {
          constexpr uint64_t kMax = kForever / std::chrono::microseconds(1);
          return Duration(std::chrono::microseconds(std::min(us, kMax)));
        };
        RunTimeline found{reply.known, duration(reply.now_us), reply.next, {}};
        uint64_t number = reply.first;
        for (const native::TimelineReply::Item& item : reply.items) {
          found.events.push_back({number++, duration(item.at_us), item.kind, item.round, item.nodes,
                                  duration(item.took_us), own(item.node), std::string(item.text)});
        }
        return NativeResult(std::move(found));
      });
}

NativeOperation resume(const RunPart& part, const RunPlace& place, Duration timeout) {
  return native_operation(
      request(part, timeout, false),
      native::ResumeRequest{part.run_id, part.wire_node(), part.settings, place.round, place.rank,
                            place.world_size, part.grace_ms, kHandle, part.wire_facts()},
      kItself);
}

}  // namespace run_operations
}  // namespace rdzv
