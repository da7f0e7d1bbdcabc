// What a Table keeps of one who waits. Its own, for table_waiters.cc and table_later.cc.
#pragma once

#include <memory>

#include "store/table.h"

namespace rdzv {

// A waiter is parked on one key that is missing; when that comes, it moves to the next missing one,
// if any. So it costs one list entry however many keys it waits for, and it wakes only when all are
// there at the same time.
//
// Those who wait for one shared list are a group. Its first, the leader, is parked for all: what
// says where stands in the leader alone, and goes to the next when the leader leaves.
struct TableView::Waiter {
  WaiterOwner* owner = nullptr;
  uint64_t tag = 0;
  SharedKeys keys;
  Need need = Need::kPresent;
  int64_t target = 0;

  Waiter* next_of_group = nullptr;
  Waiter* previous_of_group = nullptr;  // null: the leader, or alone
  // The leader's:
  bool leads = false;    // it is in leaders_
  size_t parked_at = 0;  // index into keys
  Waiter* next_of_key = nullptr;
  Waiter* previous_of_key = nullptr;
  WaitList* list = nullptr;
  Waiter* last_of_group = nullptr;

  std::unique_ptr<Waiter> next_of_owner;
  Waiter* previous_of_owner = nullptr;
  Charge charge;

  // The leader's part: the list, and what the line costs that it is parked in.
  void charge_keys() { charge.resize(kWaiterBytes + keys->bytes()); }

  static constexpr size_t kWaiterBytes = 512;  // beside its keys
};

}  // namespace rdzv
