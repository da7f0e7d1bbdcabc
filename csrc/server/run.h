// The rendezvous of one run id as its connections see it: who sits where, the JOINs and SUBSCRIBEs
// that wait; its followers have a part of their own (run_followers.h). It changes the run's Group through the server's state, and turns what happens to it
// into answers. Owns no rule (group/) and no byte of the protocol's frames (native_runs.cc).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/clock.h"
#include "base/hash.h"
#include "base/memory_account.h"
#include "base/timers.h"
#include "group/group.h"
#include "server/chores.h"
#include "server/run_followers.h"
#include "server/run_peer.h"
#include "server/run_record.h"
#include "wire/run_look_messages.h"
#include "wire/run_messages.h"

namespace rdzv {

struct ServerContext;

// For the wire's counts, which no group reaches.
inline uint32_t clamped(uint64_t count) {
  return static_cast<uint32_t>(std::min<uint64_t>(count, UINT32_MAX));
}

inline NodeId node_of(const native::RunNode& node) {
  return NodeId{std::string(node.addr), static_cast<int64_t>(node.pid), node.local_id};
}

inline native::RunNode wire_node(const NodeId& node) {
  return {node.addr, static_cast<uint64_t>(node.pid), node.local_id};
}

// What a run takes beside its nodes; and a node in it, with its seat and its heartbeats.
inline constexpr size_t kRunBytes = 2048;
inline constexpr size_t kRunNodeBytes = 1024;

// A JOIN that waits for its round.
struct PendingJoin {
  uint64_t tag = 0;
  uint64_t after_round = 0;
  Duration timeout{};
  bool is_spare = false;  // what the node knows of itself
  std::optional<Timers::Id> timer;
  Charge charge;
  std::list<Seat*>::iterator place;
};

// A node's tie to the connection it was last heard on. Lives while the connection does, and for the
// grace after it.
struct Seat {
  const NodeId* node = nullptr;
  RunPeer* peer = nullptr;  // null: the connection broke, and the grace runs
  uint32_t handle = 0;
  Duration grace{};
  std::optional<Timers::Id> grace_timer;
  uint64_t round = 0;     // the complete round it was placed in; 0: none yet
  uint64_t outlasts = 0;  // the round whose end it waits for; 0: it does not
  std::optional<PendingJoin> join;
};

struct Subscription {
  RunPeer* peer = nullptr;
  uint64_t tag = 0;
  NodeId node;
  uint64_t round = 0;
  uint32_t known_changes = 0;
  bool known_closed = false;
  std::optional<Timers::Id> timer;
  Charge charge;
  std::list<Subscription>::iterator place;
};

class Run : private Chore {
 public:
  Run(ServerContext& context, RunKeeper& keeper, Bytes id);
  ~Run() override;
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  // These throw what ServerState does, and change nothing then. JOIN is answered through the peer.
  // `node`: the request's.
  void join(RunPeer& peer, uint64_t tag, const NodeId& node, const native::JoinRequest& request);
  native::ResumeReply resume(RunPeer& peer, const NodeId& node,
                             const native::ResumeRequest& request);
  void close(const native::CloseRunRequest& request);

  native::LeaveReply leave(const native::LeaveRequest& request);
  native::KeepAliveReply keep_alive(Seat& seat);
  native::StatusReply status(const NodeId& node) const;
  void subscribe(RunPeer& peer, uint64_t tag, const native::SubscribeRequest& request);
  void unsubscribe(Subscription& subscription);
  RunFollowers& followers() { return followers_; }
  const Timeline& timeline() const { return record_.timeline(); }
  // An operation on it was refused.
  void note_refused(const std::string& why) { record_.on_refused(why); }
  // Of one that is placed already the others count on it, and it is told so. Else as if its time
  // were over, without an answer.
  void cancel_join(Seat& seat);
  // The seat's connection is gone.
  void on_broken(Seat& seat);

  const std::string& id() const { return id_; }
  // An empty one until somebody has changed it.
  const Group& group() const { return *group_; }
  // Somebody has, and so it is in the server's state.
  bool is_held() const;
  // Whether it has a place for this node already.
  bool has_place(const NodeId& node) const;
  size_t memory() const { return memory_.bytes(); }
  // Nobody is in it and nobody looks at it.
  bool is_idle() const {
    return group().state().roster.size() == 0 && seats_.empty() && subscriptions_.empty() &&
           followers_.empty();
  }
  // Nobody is connected who is in it or looks at it: it is there for those who may come back.
  bool is_abandoned() const { return connected_ == 0 && followers_.empty(); }

 private:
  // What JOINs and subscribers wait for, so that a change is noticed without looking at them.
  struct Standing {
    uint64_t round = 1;
    bool complete = false;
    bool closed = false;
    bool failed = false;
    size_t active = 0;
    uint64_t changes = 0;

    bool operator==(const Standing&) const = default;
  };
  // Who was there when a JOIN's time was over: all whose time ends at about that time are told the
  // same, not each one that one more has left.
  struct Snapshot {
    Instant at{};
    std::string who;
    std::string names;
  };

  Seat& seat_of(const NodeId& node, RunPeer& peer, uint32_t handle, uint32_t grace_ms);
  void bind(Seat& seat, RunPeer& peer, uint32_t handle);
  void unbind(Seat& seat);
  void end_join_as_moved(Seat& seat);
  void remove_seat(Seat& seat);
  void end_join(Seat& seat);
  bool was_dismissed(const NodeId& node) const;
  bool was_failed(const NodeId& node) const;
  void place(Seat& seat, uint32_t rank);
  void note_first();
  native::RunNode node_at(uint32_t rank) const;
  void drop_join(Seat& seat, native::JoinOutcome outcome);
  void on_join_deadline(Seat& seat);
  std::string timeout_text(const Seat& seat, Instant due);
  void on_grace_over(Seat& seat);

  // Changes are told to very many in slices (run_telling.cc): tell_all() begins it, and a JOIN that
  // is due before its turn has come is told at once.
  bool work(Budget& budget) override;
  void tell_all();
  bool tell_some(Budget& budget);
  bool tell_if_due(Seat& seat);
  bool tell_if_over(Seat& seat);
  bool tell_if_moved(Seat& seat);
  void dismiss(Seat& seat);

  // Changes the group, which is this one's own from the first time on.
  template <typename Change>
  auto apply(const Change& change);
  void give_up_join(Seat& seat);
  // After every change of the group: tells whom it concerns, and looks when to look again.
  void settled();
  void arm();
  void on_deadline();
  Standing standing() const;
  void announce();
  bool is_due() const;
  void publish_later();
  void publish();
  native::SubscribeReply present(const Subscription& subscription) const;
  void answer(Subscription& subscription);
  static bool differs(const Subscription& subscription, const native::SubscribeReply& reply);

  void charge();

  ServerContext& context_;
  RunKeeper& keeper_;
  Charge memory_;
  std::string id_;
  const Group* group_;  // the state's
  GradualMap<NodeId, Seat, NodeHash> seats_;
  std::list<Seat*> joining_;  // those with a JOIN
  std::list<Subscription> subscriptions_;
  RunFollowers followers_;
  RunRecord record_;
  // How many of these, from the front, have to be looked at because something has changed.
  size_t untold_joins_ = 0;
  size_t untold_subscriptions_ = 0;
  size_t connected_ = 0;  // seats with a connection, and subscriptions
  std::optional<Timers::Id> deadline_;
  Standing settled_;
  uint64_t promotions_ = 0;  // that were told
  // What subscribers were told last, when, and when they are told again.
  struct Publication {
    Standing standing;
    Instant at{};
    std::optional<Timers::Id> timer;
  };
  Publication published_;
  std::string cause_;       // Group::cause_text(), for answers
  std::string reached_at_;  // where the last one came from another machine
  NodeId first_;            // who has rank 0 in the complete round
  // For those who take part in what forms, and for those who wait behind a complete round: their
  // times may end in turn.
  std::array<std::optional<Snapshot>, 2> snapshots_;
};

}  // namespace rdzv
