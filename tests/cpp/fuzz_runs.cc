// Requests on runs, for the fuzz tests: few nodes in few runs, so that they meet.
#include "fuzz_streams.h"
#include "support.h"
#include "wire/messages.h"

namespace rdzv::test {

using native::Operation;

std::string FuzzStreams::run_one(uint64_t id, uint32_t timeout_ms) {
  // Some runs get closed, so there are always new ones.
  const std::string run_id = "run" + std::to_string(below(4) + seed_ / 40);
  const std::string addr(1, static_cast<char>('a' + below(4)));
  const native::RunNode node{addr, 1, 0};
  const native::RunSettings settings{1, static_cast<uint32_t>(2 + below(10) / 9), 5, 20, 2};
  const auto grace_ms = static_cast<uint32_t>(below(20));
  const auto handle = static_cast<uint32_t>(below(3));
  const uint64_t round = below(4);
  std::string body;
  auto frame = [&](Operation operation) {
    return native_frame(operation, id, body, static_cast<uint16_t>(below(2)));
  };
  switch (below(12)) {
    case 0:
      native::put(body,
                  native::LeaveRequest{run_id, node, below(2) == 0, below(2) == 0, 1, 2, "x"});
      return frame(Operation::kLeave);
    case 1:
    case 2:
      native::put(body, native::KeepAliveRequest{handle});
      return frame(Operation::kKeepAlive);
    case 3:
      native::put(body, native::StatusRequest{run_id, node});
      return frame(Operation::kStatus);
    case 4:
      native::put(body, native::SubscribeRequest{timeout_ms, run_id, node, round,
                                                 static_cast<uint32_t>(below(3)), below(4) == 0});
      return frame(Operation::kSubscribe);
    case 5:
      native::put(body, native::MembersRequest{run_id, static_cast<native::MemberList>(below(4)),
                                               std::string(below(30), '\0'),
                                               static_cast<uint32_t>(below(5))});
      return frame(Operation::kMembers);
    case 6:
      native::put(body, native::ResumeRequest{
                            run_id, node, settings, round, static_cast<uint32_t>(below(3)),
                            static_cast<uint32_t>(1 + below(3)), grace_ms, handle});
      return frame(Operation::kResume);
    case 8:
      native::put(body, native::FollowRequest{timeout_ms, run_id, below(3)});
      return frame(Operation::kFollow);
    case 7:
      if (below(8) == 0) {
        native::put(body, native::CloseRunRequest{run_id});
        return frame(Operation::kCloseRun);
      }
      [[fallthrough]];
    default:
      native::put(body, native::JoinRequest{timeout_ms,
                                            run_id,
                                            node,
                                            settings,
                                            round,
                                            grace_ms,
                                            handle,
                                            false,
                                            {handle % 4, {"sw1/r1"}, 0}});
      return frame(Operation::kJoin);
  }
}

}  // namespace rdzv::test
