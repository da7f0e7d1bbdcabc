// The part of a run that tells JOINs and subscribers of a change: the first of them at once, the
// others in slices. Each is told what holds when its turn comes.
#include "server/context.h"
#include "server/run.h"
#include "server/run_text.h"

namespace rdzv {

void Run::tell_all() {
  Budget at_once;
  at_once.give(Budget::kChoreSlice);
  if (!tell_some(at_once)) context_.chores.begin(*this);
}

bool Run::work(Budget& budget) {
  if (!tell_some(budget)) return false;
  keeper_.look_after(*this);
  return true;
}

bool Run::tell_some(Budget& budget) {
  for (; untold_joins_ > 0 && !joining_.empty(); --untold_joins_) {
    if (budget.is_spent()) return false;
    budget.spend(Budget::kTell);
    Seat& seat = *joining_.front();
    joining_.splice(joining_.end(), joining_, joining_.begin());
    tell_if_due(seat);
  }
  untold_joins_ = 0;
  for (; untold_subscriptions_ > 0 && !subscriptions_.empty(); --untold_subscriptions_) {
    if (budget.is_spent()) return false;
    budget.spend(Budget::kTell);
    Subscription& subscription = subscriptions_.front();
    subscriptions_.splice(subscriptions_.end(), subscriptions_, subscriptions_.begin());
    if (differs(subscription, present(subscription))) answer(subscription);
  }
  untold_subscriptions_ = 0;
  constexpr size_t kAtOnce = 64;
  for (bool is_clear = false; !is_clear; budget.spend(kAtOnce * Budget::kGone)) {
    if (budget.is_spent()) return false;
    is_clear = context_.state.sweep(id_, kAtOnce);
  }
  return true;
}

// False: it waits on.
bool Run::tell_if_due(Seat& seat) {
  return tell_if_over(seat) || tell_if_moved(seat);
}

// Its round is complete, or it has no place any more.
bool Run::tell_if_over(Seat& seat) {
  const Placement placement = group().placement(*seat.node);
  if (!placement.role) {
    dismiss(seat);
    return true;
  }
  if (placement.role != Role::kActive || group().state().round <= seat.join->after_round)
    return false;
  place(seat, static_cast<uint32_t>(placement.rank));
  return true;
}

// It has become a spare, or is none any more. It stays listed, and joins again as what it is.
bool Run::tell_if_moved(Seat& seat) {
  const bool is_spare = group().placement(*seat.node).role == Role::kSpare;
  if (is_spare == seat.join->is_spare) return false;
  drop_join(seat, is_spare ? native::JoinOutcome::kSpare : native::JoinOutcome::kNoSpare);
  return true;
}

// The run was closed or has failed, the job whose next round it waited for has finished, or a later round has
// taken the place of the one it was in.
void Run::dismiss(Seat& seat) {
  const GroupState& state = group().state();
  if (group().has_failed() || state.closed) {
    RunPeer& peer = *seat.peer;
    const uint64_t tag = seat.join->tag;
    end_join(seat);
    if (group().has_failed()) {
      peer.on_join_failed(tag, ErrorCode::kRunFailed, failed_text(id_, group()));
    } else {
      peer.on_join_failed(tag, ErrorCode::kRunClosed, closed_text(id_, *seat.node, group()));
    }
  } else {
    const bool is_finished = seat.outlasts != 0 && state.finished_round >= seat.outlasts;
    drop_join(seat, is_finished ? native::JoinOutcome::kFinished : native::JoinOutcome::kDropped);
  }
  remove_seat(seat);
}

}  // namespace rdzv
