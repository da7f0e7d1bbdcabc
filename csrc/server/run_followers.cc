#include "server/run_followers.h"

#include <utility>

#include "server/context.h"
#include "server/run.h"
#include "wire/native.h"

namespace rdzv {
namespace {

constexpr Duration kPublishInterval = std::chrono::milliseconds(100);
constexpr size_t kFollowerBytes = 512;
constexpr size_t kGoneBytes = 384;

}  // namespace

RunFollowers::RunFollowers(ServerContext& context, RunKeeper& keeper, Run& run)
    : context_(context), keeper_(keeper), run_(run), gone_charge_(&context.runs.memory()) {}

RunFollowers::~RunFollowers() {
  context_.clock.timers.cancel(publish_timer_);
}

void RunFollowers::follow(RunPeer& peer, uint64_t tag, const native::FollowRequest& request) {
  was_followed_ = true;
  Follower& made = followers_.emplace_back();
  made.peer = &peer;
  made.tag = tag;
  made.known_version = request.known_version;
  made.place = std::prev(followers_.end());
  made.charge = Charge(&peer.parked(), kFollowerBytes);
  peer.ties().add_follower(tag, run_, made);
  if (request.timeout_ms == 0) {
    answer_at_once(made);
    return;
  }
  if (made.known_version != version_) {
    // Whoever was told of one change asks again, and the next one is there by then: that has to
    // wait for its turn as if it had come while he was asking.
    const bool is_first = made.known_version == native::kNothingKnown;
    if (is_first || is_due()) {
      if (!is_first) published_at_ = context_.clock.now;
      answer_at_once(made);
      return;
    }
    publish_later();
  }
  if (request.timeout_ms == native::kNoTimeout) return;
  made.timer = context_.clock.timers.call_at(
      context_.clock.now + std::chrono::milliseconds(request.timeout_ms), [this, &made] {
        made.timer.reset();
        answer(made);
        keeper_.look_after(run_);
      });
}

void RunFollowers::end(Follower& follower) {
  context_.clock.timers.cancel(follower.timer);
  follower.peer->ties().remove_subscription(follower.tag, run_);
  followers_.erase(std::list<Follower>::iterator(follower.place));
}

// Before anybody follows, nobody asks for it.
void RunFollowers::note_gone(const NodeId& node, native::Departure how) {
  version_ = ++context_.run_version;
  if (!was_followed_) return;
  if (gone_.size() == limits::kDeparturesKept) gone_.pop_front();
  gone_.push_back({version_, node, how});
  gone_charge_.resize(gone_.size() * kGoneBytes);
}

void RunFollowers::settled() {
  if (Seen current = look(); current != seen_) {
    seen_ = current;
    version_ = ++context_.run_version;
  }
  if (version_ == published_ || followers_.empty()) return;
  if (is_due()) {
    publish();
  } else {
    publish_later();
  }
}

RunFollowers::Seen RunFollowers::look() const {
  const GroupState& state = run_.group().state();
  Seen seen;
  seen.serial = state.serial;
  for (const Role role : {Role::kForming, Role::kActive, Role::kDone, Role::kWaiting, Role::kSpare})
    seen.roles[static_cast<size_t>(role)] = state.roster.count(role);
  seen.lost = state.lost.size();
  seen.round = state.round;
  seen.finished_round = state.finished_round;
  seen.failed = run_.group().has_failed();
  seen.complete = state.complete;
  seen.closed = state.closed;
  return seen;
}

bool RunFollowers::is_due() const {
  return context_.clock.now - published_at_ >= kPublishInterval;
}

void RunFollowers::publish_later() {
  if (publish_timer_) return;
  publish_timer_ = context_.clock.timers.call_at(published_at_ + kPublishInterval, [this] {
    publish_timer_.reset();
    publish();
    keeper_.look_after(run_);
  });
}

// The first at once, the others in their turn.
void RunFollowers::publish() {
  context_.clock.timers.cancel(publish_timer_);
  published_ = version_;
  published_at_ = context_.clock.now;
  untold_ = followers_.size();
  Budget at_once;
  at_once.give(Budget::kChoreSlice);
  if (!tell_some(at_once)) context_.chores.begin(*this);
}

bool RunFollowers::work(Budget& budget) {
  if (!tell_some(budget)) return false;
  keeper_.look_after(run_);
  return true;
}

bool RunFollowers::tell_some(Budget& budget) {
  for (; untold_ > 0 && !followers_.empty(); --untold_) {
    if (budget.is_spent()) return false;
    budget.spend(Budget::kTell);
    Follower& follower = followers_.front();
    followers_.splice(followers_.end(), followers_, followers_.begin());
    if (follower.known_version == version_) continue;
    budget.spend(gone_.size() * Budget::kName);
    answer(follower);
  }
  untold_ = 0;
  return true;
}

void RunFollowers::answer_at_once(Follower& follower) {
  context_.budget.spend(gone_.size() * Budget::kName);
  answer(follower);
}

void RunFollowers::answer(Follower& follower) {
  native::FollowReply reply;
  reply.version = version_;
  if (run_.is_held()) {
    reply.status = run_.status(NodeId());
    reply.status.role = native::RunRole::kAbsent;
  }
  for (const Gone& gone : gone_) {
    if (gone.version > follower.known_version)
      reply.gone.push_back({wire_node(gone.node), gone.how});
  }
  RunPeer& peer = *follower.peer;
  const uint64_t tag = follower.tag;
  end(follower);
  peer.on_followed(tag, reply);
}

}  // namespace rdzv
