// The part of a run that looks at time and tells changes: when the group has to be looked at again,
// whom a change concerns, and how subscribers are told without a storm of answers.
#include <algorithm>
#include <utility>

#include "group/on_wire.h"
#include "server/context.h"
#include "server/run.h"
#include "wire/native.h"

namespace rdzv {
namespace {

// When many nodes come one after the other, subscribers hear of the first at once and of the others
// together, at most this often: 10,000 subscribers and 5,000 late nodes are not 50 million answers.
constexpr Duration kPublishInterval = std::chrono::milliseconds(100);

constexpr size_t kSubscriptionBytes = 512;

native::RunRole wire_role(std::optional<Role> role) {
  if (!role) return native::RunRole::kAbsent;
  switch (*role) {
    case Role::kForming:
      return native::RunRole::kForming;
    case Role::kActive:
      return native::RunRole::kActive;
    case Role::kDone:
      return native::RunRole::kDone;
    case Role::kWaiting:
      return native::RunRole::kWaiting;
    case Role::kSpare:
      return native::RunRole::kSpare;
  }
  return native::RunRole::kAbsent;
}

}  // namespace

void Run::settled() {
  const Standing current = standing();
  const Standing before = std::exchange(settled_, current);
  if (current.round != before.round || current.complete != before.complete ||
      current.closed != before.closed || current.failed != before.failed) {
    if (current.round != before.round || current.complete != before.complete)
      record_.on_round(before.round);
    if (current.failed && !before.failed) record_.on_failed();
    if (current.complete) note_first();
    untold_joins_ = joining_.size();
    tell_all();
  } else if (group().promotions() != promotions_) {
    untold_joins_ = joining_.size();
    tell_all();
  }
  promotions_ = group().promotions();
  if (cause_.empty() == group().state().cause.has_value()) cause_ = group().cause_text();
  announce();
  followers_.settled();
  record_.settled();
  arm();
  charge();
}

Run::Standing Run::standing() const {
  const GroupState& state = group().state();
  return {state.round,
          state.complete,
          state.closed,
          group().has_failed(),
          state.roster.count(Role::kActive),
          group().changes()};
}

// A deadline only ever moves away while heartbeats come. So the timer stays where it is, fires
// early and is set anew then, not at each of them.
void Run::arm() {
  const std::optional<Instant> next = group().next_deadline();
  if (!next) return;
  const Instant due = context_.clock.awake_at(*next);
  if (deadline_ && deadline_->first <= due) return;
  context_.clock.awake_timers.cancel(deadline_);
  deadline_ = context_.clock.awake_timers.call_at(due, [this] { on_deadline(); });
}

void Run::on_deadline() {
  deadline_.reset();
  size_t dead = 0;
  constexpr size_t kAtOnce = 1024;
  for (const NodeId& node : context_.apply(change::ExpireRun{id_, kAtOnce})) {
    record_.on_gone(node, native::Departure::kLost, "its keep-alives stopped", ++dead);
    followers_.note_gone(node, native::Departure::kLost);
    const auto found = seats_.find(node);
    if (found == seats_.end()) continue;
    drop_join(found->second, native::JoinOutcome::kDropped);
    remove_seat(found->second);
  }
  settled();
  keeper_.look_after(*this);
}

void Run::announce() {
  if (settled_ == published_.standing) return;
  if (subscriptions_.empty()) {
    published_.standing = settled_;
    return;
  }
  const bool is_first = published_.standing.changes == 0 && settled_.changes > 0;
  if (is_first || settled_.closed != published_.standing.closed || is_due()) {
    published_.at = context_.clock.now;
    publish();
  } else {
    publish_later();
  }
}

bool Run::is_due() const {
  return context_.clock.now - published_.at >= kPublishInterval;
}

void Run::publish_later() {
  if (published_.timer) return;
  published_.timer = context_.clock.timers.call_at(published_.at + kPublishInterval, [this] {
    published_.timer.reset();
    published_.at = context_.clock.now;
    publish();
    keeper_.look_after(*this);
  });
}

void Run::publish() {
  context_.clock.timers.cancel(published_.timer);
  published_.standing = settled_;
  untold_subscriptions_ = subscriptions_.size();
  tell_all();
}

void Run::subscribe(RunPeer& peer, uint64_t tag, const native::SubscribeRequest& request) {
  Subscription& made = subscriptions_.emplace_back();
  made.peer = &peer;
  made.tag = tag;
  made.node = node_of(request.node);
  made.round = request.round;
  made.known_changes = request.known_changes;
  made.known_closed = request.known_closed;
  made.place = std::prev(subscriptions_.end());
  made.charge = Charge(&peer.parked(), kSubscriptionBytes + heap_bytes(made.node.addr.size()));
  peer.ties().add_subscription(tag, *this, made);
  ++connected_;
  const native::SubscribeReply reply = present(made);
  if (differs(made, reply)) {
    // Whoever was told of one change asks again, and the next one is there by then: that has to
    // wait for its turn as if it had come while he was asking.
    const bool is_first = made.known_changes == 0 || made.known_closed != reply.closed;
    if (is_first || is_due()) {
      if (!is_first) published_.at = context_.clock.now;
      answer(made);
      return;
    }
    publish_later();
  }
  if (request.timeout_ms == native::kNoTimeout) return;
  made.timer = context_.clock.timers.call_at(
      context_.clock.now + std::chrono::milliseconds(request.timeout_ms), [this, &made] {
        made.timer.reset();
        answer(made);
        keeper_.look_after(*this);
      });
}

void Run::unsubscribe(Subscription& subscription) {
  context_.clock.timers.cancel(subscription.timer);
  subscription.peer->ties().remove_subscription(subscription.tag, *this);
  --connected_;
  subscriptions_.erase(std::list<Subscription>::iterator(subscription.place));
}

void Run::answer(Subscription& subscription) {
  const native::SubscribeReply reply = present(subscription);
  RunPeer& peer = *subscription.peer;
  const uint64_t tag = subscription.tag;
  unsubscribe(subscription);
  peer.on_changes(tag, reply);
}

native::SubscribeReply Run::present(const Subscription& subscription) const {
  const GroupState& state = group().state();
  native::SubscribeReply reply;
  reply.active = state.complete && state.round == subscription.round &&
                 group().placement(subscription.node).role == Role::kActive;
  reply.changes = clamped(group().membership_changes(subscription.node, subscription.round));
  reply.closed = state.closed;
  return reply;
}

bool Run::differs(const Subscription& subscription, const native::SubscribeReply& reply) {
  return subscription.known_changes != reply.changes || subscription.known_closed != reply.closed;
}

native::StatusReply Run::status(const NodeId& node) const {
  const GroupState& state = group().state();
  const Roster& roster = state.roster;
  const Placement placement = group().placement(node);
  native::StatusReply reply;
  reply.known = true;
  reply.round = state.round;
  reply.complete = state.complete;
  reply.closed = state.closed;
  reply.finished_round = state.finished_round;
  reply.world_size = state.world_size;
  if (state.settings) {
    reply.has_settings = true;
    reply.settings = wire_settings(*state.settings);
  }
  reply.participants =
      static_cast<uint32_t>(roster.count(Role::kForming) + roster.count(Role::kActive));
  reply.waiting = static_cast<uint32_t>(roster.count(Role::kWaiting));
  reply.spares = static_cast<uint32_t>(roster.count(Role::kSpare));
  reply.lost = static_cast<uint32_t>(state.lost.size());
  if (const auto left = group().last_call_left(context_.clock.now)) {
    const auto left_ms = std::chrono::ceil<std::chrono::milliseconds>(*left).count();
    reply.last_call_left_ms =
        static_cast<uint32_t>(std::min<int64_t>(left_ms, int64_t{native::kNoLastCall} - 1));
  }
  reply.role = wire_role(placement.role);
  if (placement.rank >= 0) reply.rank = static_cast<uint32_t>(placement.rank);
  reply.changes = clamped(group().membership_changes(node, state.round));
  // What has a connection is a seat or a subscription.
  reply.suspects = clamped(seats_.size() + subscriptions_.size() - connected_);
  reply.gave_up = group().gave_up();
  reply.failed = group().has_failed();
  reply.cause = cause_;
  reply.reached_at = reached_at_;
  reply.close_reason = state.close_reason;
  return reply;
}

}  // namespace rdzv
