// All runs whose rendezvous the server keeps, by run id. Owns how many there are, how long one that
// nobody is in is remembered, and that no run is kept both here and by compare-and-set clients in
// the table.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "server/budget.h"
#include "server/run.h"
#include "store/table.h"

namespace rdzv {

struct ServerContext;

class Runs {
 public:
  explicit Runs(ServerContext& context);
  ~Runs();
  Runs(const Runs&) = delete;
  Runs& operator=(const Runs&) = delete;

  // Those that change a run throw: what Group throws, kInvalidArgument, kLimit, kState for a run
  // that is kept by compare-and-set clients. Then nothing has changed.
  void join(RunPeer& peer, uint64_t tag, const native::JoinRequest& request);
  native::ResumeReply resume(RunPeer& peer, const native::ResumeRequest& request);
  void close(const native::CloseRunRequest& request);
  void subscribe(RunPeer& peer, uint64_t tag, const native::SubscribeRequest& request);

  native::LeaveReply leave(const native::LeaveRequest& request);
  native::KeepAliveReply keep_alive(RunPeer& peer, uint32_t handle);
  native::StatusReply status(const native::StatusRequest& request);
  // Null: there is no such run.
  const Run* find(Bytes id) const;
  // The JOIN or SUBSCRIBE with that tag, if one waits.
  void cancel(RunPeer& peer, uint64_t tag);
  // The peer's connection is gone: its seats break and its subscriptions end, as far as the budget
  // goes. True: all of them.
  bool leave(RunPeer& peer, Budget& budget);

 private:
  friend class Run;

  Run* find(Bytes id);
  // `peer`: who will have to do with it; null: nobody will.
  Run& find_or_create(const RunPeer* peer, Bytes id, const char* operation);
  template <typename Action>
  void change(RunPeer* peer, Bytes run_id, const char* operation, Action&& action);
  void check_times(uint32_t grace_ms, const native::RunSettings& settings,
                   const char* operation) const;
  void check_handle(const RunPeer& peer, uint32_t handle, Bytes run_id, const native::RunNode& node,
                    const char* operation) const;
  void log(LogLevel level, const std::string& text) const;
  // Called when somebody may have come to the run or left it, as the last thing: it may be gone
  // after it.
  void release_if_idle(Run& run);
  // For a new run, or for a node more in `needed`. False: there is none.
  bool make_room(const Run* needed);
  void forget(Run& run);
  void arm_idle_timer();

  ServerContext& context_;
  BytesMap<std::unique_ptr<Run>> runs_;
  std::list<Run*> idle_;       // longest idle first
  std::list<Run*> abandoned_;  // likewise
  std::optional<Timers::Id> idle_timer_;
  std::string left_cause_;  // for the answer of a LEAVE, after which its run may be gone
};

}  // namespace rdzv
