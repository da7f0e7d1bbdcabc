// All runs whose rendezvous the server keeps, by run id. Owns how many there are, and how long one
// that nobody is in is remembered.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "server/budget.h"
#include "server/run.h"

namespace rdzv {

struct ServerContext;

class Runs final : private RunKeeper {
 public:
  explicit Runs(ServerContext& context);
  ~Runs();
  Runs(const Runs&) = delete;
  Runs& operator=(const Runs&) = delete;

  // Those that change a run throw: what ServerState does, kInvalidArgument, kLimit. Then nothing
  // has changed.
  void join(RunPeer& peer, uint64_t tag, const native::JoinRequest& request);
  native::ResumeReply resume(RunPeer& peer, const native::ResumeRequest& request);
  void close(const native::CloseRunRequest& request);
  void subscribe(RunPeer& peer, uint64_t tag, const native::SubscribeRequest& request);

  void follow(RunPeer& peer, uint64_t tag, const native::FollowRequest& request);

  native::LeaveReply leave(const native::LeaveRequest& request);
  native::KeepAliveReply keep_alive(const RunPeer& peer, uint32_t handle);
  native::StatusReply status(const native::StatusRequest& request) const;
  // Null: there is no such run.
  const Run* find(Bytes id) const;
  // visit(run) of those that somebody has changed.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (const auto& [id, run] : runs_) {
      if (run->is_held()) visit(std::as_const(*run));
    }
  }
  size_t size() const { return runs_.size(); }
  // The JOIN, SUBSCRIBE or FOLLOW with that tag, if one waits.
  void cancel(const RunPeer& peer, uint64_t tag);
  // The peer's connection is gone: its seats break and its subscriptions end, as far as the budget
  // goes. True: all of them.
  bool leave(const RunPeer& peer, Budget& budget);

 private:
  // With its place among those that nobody is connected to.
  struct Kept : Run {
    using Run::Run;
    std::list<Kept*>* among = nullptr;
    std::list<Kept*>::iterator at;
    Instant since{};
    Charge counted;  // among the runs of all name spaces that somebody has changed
  };

  void look_after(Run& run) override { release_if_idle(static_cast<Kept&>(run)); }
  // `peer`: who will have to do with it; null: nobody will. `changes`: as of make_room().
  Kept& find_or_create(const RunPeer* peer, Bytes id, const char* operation, bool changes);
  template <typename Action>
  void change(RunPeer* peer, Bytes run_id, const char* operation, Action&& action);
  void check_times(uint32_t grace_ms, const native::RunSettings& settings,
                   const char* operation) const;
  void check_handle(const RunPeer& peer, uint32_t handle, Bytes run_id, const native::RunNode& node,
                    const char* operation) const;
  // Called when somebody may have arrived at the run or left it, as the last thing: it may be gone
  // after it.
  void release_if_idle(Kept& run);
  // For a new run, or for a node more in `needed`. `changes`: it will be in the server's state; a run
  // that is only looked at takes the place of none. False: there is none.
  bool make_room(const Kept* needed, bool changes);
  void forget(Kept& run);
  void arm_idle_timer();

  ServerContext& context_;
  BytesMap<std::unique_ptr<Kept>> runs_;
  std::list<Kept*> idle_;       // longest idle first
  std::list<Kept*> abandoned_;  // likewise
  std::optional<Timers::Id> idle_timer_;
  std::string left_cause_;  // for the answer of a LEAVE, after which its run may be gone
};

}  // namespace rdzv
