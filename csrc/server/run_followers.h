// Those who follow a run without being in it: FOLLOWs that wait for its version to be another one.
// Owns the version, which is a new one whenever who is in the run, as what, or what became of the
// run has changed; and who went lately, and how, as the rulebook does not keep it. Belongs to its
// Run, which says when something may have changed.
//
// Changes that follow each other fast are told together, every 100 ms at most; very many followers
// are told in slices, each what holds when its turn comes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>

#include "base/clock.h"
#include "base/memory_account.h"
#include "base/timers.h"
#include "group/node.h"
#include "server/chores.h"
#include "server/run_peer.h"
#include "wire/run_look_messages.h"

namespace rdzv {

struct ServerContext;

// Whoever keeps a run.
class RunKeeper {
 public:
  // Called when somebody may have left the run by himself, because of a time that was over or a
  // change that he was told of, as the last thing: it may be gone after it.
  virtual void look_after(Run& run) = 0;

 protected:
  ~RunKeeper() = default;
};

struct Follower {
  RunPeer* peer = nullptr;
  uint64_t tag = 0;
  uint64_t known_version = 0;
  std::optional<Timers::Id> timer;
  Charge charge;
  std::list<Follower>::iterator place;
};

class RunFollowers final : private Chore {
 public:
  RunFollowers(ServerContext& context, RunKeeper& keeper, Run& run);
  ~RunFollowers() override;

  bool empty() const { return followers_.empty(); }
  void follow(RunPeer& peer, uint64_t tag, const native::FollowRequest& request);
  void end(Follower& follower);
  // A node is listed no more.
  void note_gone(const NodeId& node, native::Departure how);
  // After every change of the run's group.
  void settled();

 private:
  // What a version is of.
  struct Seen {
    uint64_t serial = 0;  // of the node that came last
    std::array<size_t, 5> roles{};
    size_t lost = 0;
    uint64_t round = 0;
    uint64_t finished_round = 0;
    bool failed = false;
    bool complete = false;
    bool closed = false;

    bool operator==(const Seen&) const = default;
  };
  struct Gone {
    uint64_t version;
    NodeId node;
    native::Departure how;
  };

  bool work(Budget& budget) override;
  bool tell_some(Budget& budget);
  bool is_due() const;
  void publish();
  void publish_later();
  // To a request that has just come: at its connection's cost.
  void answer_at_once(Follower& follower);
  void answer(Follower& follower);
  Seen look() const;

  ServerContext& context_;
  RunKeeper& keeper_;
  Run& run_;
  std::list<Follower> followers_;
  size_t untold_ = 0;  // of these, from the front
  Seen seen_;
  uint64_t version_ = 0;
  uint64_t published_ = 0;  // the version that was told last
  Instant published_at_{};
  std::optional<Timers::Id> publish_timer_;
  bool was_followed_ = false;
  std::list<Gone> gone_;
  Charge gone_charge_;
};

}  // namespace rdzv
