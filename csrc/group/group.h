// The rulebook of one run's rendezvous: who is in, who waits, who is dead, when a round is
// complete, which rank a node has. Owns the shared state, and what this observer saw of heartbeats.
// It opens no socket and reads no clock: `now` is the caller's own monotonic clock and never meets
// another machine's. The same operations at the same times give the same bytes. No locks: one
// thread at a time.
//
// Every operation leaves the group settled: a round with max_nodes is complete, a last call runs
// exactly while min_nodes <= n < max_nodes form, free places are given to spares, a round nobody is
// active in has ended. With segments, n counts nodes in whole ones only, and places are given to
// whole ones. Places that are kept for former members are not given, and while some are, max_nodes
// do not complete a round. What depends on time alone waits for expire(). An operation that throws
// changes nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "group/heartbeats.h"
#include "group/state.h"

namespace rdzv {

// What became of a node that comes from a round which is not known.
enum class Resumed {
  kTaken,     // it has its place
  kReplaced,  // likewise, in place of an earlier round, whose nodes are not listed any more
  kRefused,   // nothing has changed: the round was left behind, its world size is another, or the
              // rank is not this node's; it has to join again
};

// Stands for all expected ranks where heartbeats are watched: they have been silent for the same
// time. No well-formed node.
inline const NodeId kExpectedRanks{"", -1, 0};

struct Placement {
  std::optional<Role> role;  // none: absent
  int64_t rank = -1;         // -1 unless active or done
};

class Group {
 public:
  // `seed`: nobody who names nodes may know it (base/hash.h). It changes nothing that is seen.
  explicit Group(HashSeed seed = {}) : heartbeats_(seed) {}

  // Replaces the state by what a store holds, nullopt for nothing yet. What was seen of heartbeats
  // and of the last call is kept for what did not change. Throws kState for bytes that are no
  // state.
  void observe(std::optional<Bytes> bytes, Instant now);
  std::string encode() const;

  // `after_round`: the last round this node took part in, 0 for none; it wants a later one. To join
  // again changes nothing, unless the complete round is not later: then the node moves to the wait
  // list. Throws kRunClosed, kRunFailed, kState when the group has other settings, kLimit when it is full,
  // kInvalidArgument.
  //
  // `facts`: what its rank follows, if the settings say so. Throws kInvalidArgument where they are
  // missing, kState for a given rank that another node has, and for an earlier
  // attempt than the group's. A later attempt is a new start: nobody of the earlier one is listed any
  // more, the next round forms, and a group that was closed or has failed is open.
  void join(const NodeId& node, const GroupSettings& settings, uint64_t after_round, Instant now,
            const NodeFacts& facts = {});
  // The node is alive. Nothing for one that is done or not listed: it has to join again.
  void keep_alive(const NodeId& node, Instant now);
  // `failed`: its job broke, and the others are told as for a node that was lost.
  void leave(const NodeId& node, bool failed, Instant now);
  // Its job broke, and nobody will start it again. The first to say so is the root cause. When that
  // leaves fewer than min_nodes, lost ones that may come back included, the run has failed: who
  // waits is dismissed, and join() throws kRunFailed for nodes that took part. Who comes new begins
  // anew. `do_not_restart`: as of close(), with this as the reason, however many are left.
  void give_up(const NodeId& node, const Ending& ending, Instant now, bool do_not_restart = false);
  // For good: nobody joins any more and no further round completes. Who has no rank is dismissed;
  // the participants of a complete round finish it. The first reason that is given stays. `unix_ms`:
  // by the caller's own wall clock, for forget_close(). `do_not_restart`: the run has failed for
  // good, and join() throws kRunFailed; also of one that is closed already, and with this reason.
  void close(const std::string& reason = {}, uint64_t unix_ms = 0, bool do_not_restart = false);
  // Opens a group again that was closed longer ago than that, and that nobody is in any more: an old
  // job of the same name. Wall clocks of two machines are compared here alone, as the time is long.
  bool forget_close(uint64_t unix_ms, Duration ago);
  // Removes the dead, whom it returns, and ends the last call. At most `max` of them; if there are
  // more, next_deadline() has come already and the last call waits for them.
  std::vector<NodeId> expire(Instant now, size_t max = SIZE_MAX);
  // Of the nodes of lists that went as a whole, clears up to `max` out of memory. True: none is
  // left. Nothing that is seen changes, whenever it is called.
  bool sweep(size_t max);
  // The node is known to be dead, before its heartbeats were missed for long enough: its
  // connection broke, and it did not come back.
  void drop(const NodeId& node, Instant now);
  // For the one keeper of a group that has lost its memory: the node has this rank in that complete
  // round. If no such round was known, it is put back as complete, with stand-ins for the other
  // ranks, and who has joined meanwhile waits for the next one. A stand-in gives its place to the
  // node of its rank; without one it is lost, like a node that sends no heartbeats.
  //
  // A round that exists only because it was put back is believed until somebody comes from a later
  // one: a node that was cut off may be back before those who went on without it. That round then
  // takes its place, with its settings; and a round before one that a join has told of is not put
  // back. Throws kInvalidArgument, kState when the group has other settings, kLimit.
  Resumed resume(const NodeId& node, const GroupSettings& settings, uint64_t round, uint32_t rank,
                 uint32_t world_size, Instant now, const NodeFacts& facts = {});
  // When to call expire() again if nothing else happens: it may change something then, or time
  // would pass uncounted (heartbeats.h).
  std::optional<Instant> next_deadline() const;

  Placement placement(const NodeId& node) const;
  // How long ago this observer heard the node; nothing: it watches no heartbeats of it.
  std::optional<Duration> silence_of(const NodeId& node, Instant now) const {
    return heartbeats_.silence_of(node, now);
  }
  // Nodes on the wait list and participants lost since the round completed. Newcomers are not counted
  // before the debounce is over, unless there is another reason for a new round.
  uint64_t changes() const;
  // When those on the wait list are counted, if they are not yet.
  std::optional<Instant> newcomers_due() const;
  // As changes(). At least 1 if the node
  // is no longer an active participant of that round: then it, too, has to look for the next one.
  uint64_t membership_changes(const NodeId& node, uint64_t round) const;
  // Those who form the round; or the active ones of the complete round, by rank.
  std::vector<NodeId> participants() const;
  std::vector<NodeId> waiting() const;  // in natural order
  std::vector<NodeId> spares() const;   // in order of joining
  std::vector<NodeId> lost() const;     // in natural order
  uint32_t gave_up() const;             // how many of the lost
  std::string cause_text() const;       // empty: nobody gave up
  // For good: too few are left because nodes gave up, or somebody said not to restart it.
  bool has_failed() const { return state_.do_not_restart || state_.failed_round != 0; }
  std::string failure() const;      // why it has; may be empty
  std::string closed_text() const;  // of a closed one
  std::string failed_text() const;  // of a run that has failed
  // How often a spare got a place, or a node that waits lost its own to who was in the last round, in
  // this object's own life.
  uint64_t promotions() const { return promotions_; }
  std::optional<Duration> last_call_left(Instant now) const;  // none: no last call is running
  const GroupState& state() const { return state_; }

 private:
  void check_join(const NodeId& node, const GroupSettings& settings, uint64_t after_round,
                  const NodeFacts& facts) const;
  void check_agrees(const NodeId& node, const GroupSettings& settings, const NodeFacts& facts,
                    const std::string& what) const;
  void check_attempt(uint64_t attempt, const std::string& what) const;
  void begin_attempt(uint64_t attempt);
  void open();
  void look(Instant now);
  void adopt(const GroupSettings& settings);
  void enroll(const NodeId& node, const Member& member);
  uint32_t take_lost_rank(const NodeId& node);
  void remove(const NodeId& node);
  void lose(const NodeId& node, LossReason reason);
  void rejoin(const NodeId& node);
  bool has_place(bool is_former) const;
  bool make_room();
  void check_resume(const NodeId& node, const GroupSettings& settings, uint64_t round,
                    uint32_t rank, uint32_t world_size, const NodeFacts& facts) const;
  bool is_replaced_by(uint64_t round) const {
    return is_put_back_ && round > state_.round && round >= state_.round_floor;
  }
  bool may_resume(const NodeId& node, uint64_t round, uint32_t rank, uint32_t world_size) const;
  void forget_round(const GroupSettings& settings);
  void put_back(uint64_t round, uint32_t world_size);
  void forget_expected();
  void lose_expected(std::vector<NodeId>& dead);
  void free_given(uint32_t rank);
  void enroll_active(const NodeId& node, uint32_t rank, const NodeFacts& facts);

  void note_newcomer() { state_.newcomer = ++state_.serial; }
  void watch_newcomers(Instant now);
  void fail_if_hopeless();
  void check_not_failed(uint64_t after_round, const std::string& what) const;
  void settle(Instant now);
  void settle_forming(Instant now);
  void complete_round();
  void promote_spares();
  bool promote_segment();
  void end_round();

  GroupState state_;
  Heartbeats heartbeats_;
  uint64_t last_call_seen_ = 0;  // the last call this observer knows of, and since when
  Instant last_call_since_{};
  // Likewise of newcomers: the last one, of which round, since when it waits and since when any does;
  // and whether the debounce is over.
  uint64_t newcomer_seen_ = 0;
  uint64_t newcomers_round_ = 0;
  Instant newcomer_since_{};
  Instant newcomers_since_{};
  bool are_newcomers_told_ = true;
  // The last round that was complete in this object's own life, so that resume() puts back no
  // round that has ended here.
  uint64_t completed_round_ = 0;
  uint64_t promotions_ = 0;
  // Nothing but resume() tells of the complete round.
  bool is_put_back_ = false;
};

}  // namespace rdzv
