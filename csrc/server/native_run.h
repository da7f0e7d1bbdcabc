// The native protocol's operations on runs, on one connection: bodies to Runs, and its answers, now
// or later, to frames. Decides nothing about a run. Belongs to the connection's NativeSession.
#pragma once

#include <cstdint>
#include <string>

#include "server/native_session.h"
#include "server/run.h"
#include "wire/native_run.h"

namespace rdzv {

class NativeRuns final : public RunPeer {
 public:
  NativeRuns(NativeSession& session, ServerContext& context)
      : RunPeer(context.seed), session_(session), context_(context) {}

  // False for another operation, or a body that is not as the protocol says.
  bool handle(const native::Frame& frame);
  void cancel(const native::Header& target);
  void on_closed();

  MemoryAccount& parked() override;
  void on_joined(uint64_t tag, const native::JoinReply& reply) override;
  void on_join_failed(uint64_t tag, ErrorCode code, const std::string& message) override;
  void on_changes(uint64_t tag, const native::SubscribeReply& reply) override;

 private:
  class ListMembers;

  bool join(const native::Frame& frame);
  bool leave(const native::Frame& frame);
  bool keep_alive(const native::Frame& frame);
  bool close_run(const native::Frame& frame);
  bool status(const native::Frame& frame);
  bool subscribe(const native::Frame& frame);
  bool members(const native::Frame& frame);
  bool resume(const native::Frame& frame);

  bool may_wait(const native::Header& header);
  // Runs what changes a run, and spends for it.
  template <typename Action>
  void charged(Bytes run_id, Action&& action);
  // Runs what may throw an Error, which becomes the answer.
  template <typename Action>
  void answer_errors_of(const native::Header& header, Action&& action);
  template <typename Put, typename Reply>
  void reply(const native::Header& header, Put put, const Reply& body);

  NativeSession& session_;
  ServerContext& context_;
};

}  // namespace rdzv
