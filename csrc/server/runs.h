// All runs whose rendezvous the server keeps, by run id. Owns how many there are, and how long one
// that nobody is in is remembered.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/memory_account.h"
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
  // What they take, and what is remembered of who went from them.
  MemoryAccount& memory() { return memory_; }
  const MemoryAccount& memory() const { return memory_; }
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
    Charge counted;    // among the runs of all name spaces that somebody has changed
    Charge droppable;  // what would be free without it
  };

  void look_after(Run& run) override { release_if_idle(static_cast<Kept&>(run)); }
  enum class Use {
    kLook,    // what is not there takes the place of none
    kChange,  // it will be in the server's state
    kEnter,   // and have a place for the node
  };
  // What a request takes of the room for runs.
  struct Need {
    size_t bytes = 0;
    bool is_run = false;  // one more that is in the server's state
  };

  // `peer`: who will have to do with it; null: nobody will. `node`: who enters.
  Kept& find_or_create(const RunPeer* peer, Bytes id, const char* operation, Use use,
                       const NodeId* node = nullptr);
  template <typename Action>
  void change(RunPeer* peer, Bytes run_id, const char* operation, const NodeId* node,
              Action&& action);
  void check_times(uint32_t grace_ms, const native::RunSettings& settings,
                   const char* operation) const;
  void check_handle(const RunPeer& peer, uint32_t handle, Bytes run_id, const native::RunNode& node,
                    const char* operation) const;
  // Called when somebody may have arrived at the run or left it, as the last thing: it may be gone
  // after it.
  void release_if_idle(Kept& run);
  // Drops runs that nobody is connected to, but not `used`, if that makes room. Otherwise nothing
  // changes, and this says which limit is reached.
  std::optional<std::string> make_room(const Need& need, const Kept* used, Use use);
  // Which limit is reached, when so much would be free.
  std::optional<std::string> reached(const Need& need, size_t free_runs, size_t free_bytes) const;
  void drop(Kept& run);
  void forget(Kept& run);
  void arm_idle_timer();

  ServerContext& context_;
  MemoryAccount memory_;
  MemoryAccount droppable_;  // of those that nobody is connected to
  BytesMap<std::unique_ptr<Kept>> runs_;
  std::list<Kept*> idle_;       // longest idle first
  std::list<Kept*> abandoned_;  // likewise
  std::optional<Timers::Id> idle_timer_;
  std::string left_cause_;  // for the answer of a LEAVE, after which its run may be gone
};

}  // namespace rdzv
