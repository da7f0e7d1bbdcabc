// The native protocol's operations on runs, on one connection: bodies to Runs, and its answers, now
// or later, to frames. Decides nothing about a run. Belongs to the connection's NativeChannel.
#pragma once

#include <cstdint>
#include <string>

#include "server/native_channel.h"
#include "server/run.h"
#include "wire/messages.h"

namespace rdzv {

class NativeRuns final : public RunPeer {
 public:
  NativeRuns(NativeChannel& channel, ServerContext& context)
      : RunPeer(context.state.seed(), context.run_waits), channel_(channel), context_(context) {}

  // What each operation does (native_table.cc).
  void join(const native::Header& header, const native::JoinRequest& request);
  void leave(const native::Header& header, const native::LeaveRequest& request);
  native::KeepAliveReply keep_alive(const native::KeepAliveRequest& request);
  void close_run(const native::Header& header, const native::CloseRunRequest& request);
  native::StatusReply status(const native::StatusRequest& request);
  void subscribe(const native::Header& header, const native::SubscribeRequest& request);
  void follow(const native::Header& header, const native::FollowRequest& request);
  void members(const native::Header& header, const native::MembersRequest& request);
  void resume(const native::Header& header, const native::ResumeRequest& request);
  native::HostsReply hosts(const native::HostsRequest& request);
  native::TimelineReply timeline(const native::TimelineRequest& request);

  void cancel(const native::Header& target);
  // The connection is gone. True: nothing of it is left in any run.
  bool leave_all(Budget& budget);

  MemoryAccount& parked() override;
  std::string reached_at() const override;
  void on_joined(uint64_t tag, const native::JoinReply& reply) override;
  void on_join_failed(uint64_t tag, ErrorCode code, const std::string& message) override;
  void on_changes(uint64_t tag, const native::SubscribeReply& reply) override;
  void on_followed(uint64_t tag, const native::FollowReply& reply) override;

 private:
  class ListMembers;

  bool may_wait(const native::Header& header);
  // Runs what changes a run, and spends for it.
  template <typename Action>
  void charged(Bytes run_id, Action&& action);
  // Runs what may throw an Error, which becomes the answer.
  template <typename Action>
  void answer_errors_of(const native::Header& header, Action&& action);

  NativeChannel& channel_;
  ServerContext& context_;
};

}  // namespace rdzv
