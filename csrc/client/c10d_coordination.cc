// C10dStore's operations by which callers meet: queues, barriers, exchanges. Composed of requests
// that the c10d protocol has, as those in c10d_operations.cc.
#include "base/error.h"
#include "base/random.h"
#include "client/c10d_call.h"
#include "client/c10d_store.h"
#include "store/meeting.h"

namespace rdzv {

using c10d::Code;

// A server without queues closes the connection at them, after which nobody knows whether a push or
// a pop was applied. So the first of them is preceded by a read.
void C10dStore::need_queues(const char* name, Bytes key, const Deadline& deadline) {
  if (has_queues_) return;
  WireKeys wire({key});
  Request request{name, key, deadline.left(), false, true, nullptr, true};
  run(request, [&](Conversation& talk) { talk.ask(Code::kQueueLen, wire.all()); });
  has_queues_ = true;
}

void C10dStore::queue_push(Bytes key, Bytes item) {
  check_key("queue_push", key);
  check_value("queue_push", key, item);
  need_queues("queue_push", key, Deadline::after(timeout()));
  WireKeys wire({key});
  Request request{"queue_push", key, timeout()};
  write(request, Code::kQueuePush, {wire.one(), item});
}

// Somebody else may be faster between WAIT and QUEUE_POP, or WAIT was content with a key of that
// name.
TakenBytes C10dStore::queue_pop(Bytes key, bool block, Duration timeout) {
  check_key("queue_pop", key);
  Deadline deadline = Deadline::after(block ? timeout : this->timeout());
  need_queues("queue_pop", key, deadline);
  WireKeys wire({key});
  Request request{"queue_pop", key, deadline.left(), false, true};
  std::string item;
  run(request, [&](Conversation& talk) {
    for (;; talk.pause()) {
      request.is_write = false;
      bool in_time = block && talk.wait(Code::kWait, wire.all());
      request.is_write = true;
      const c10d::Reply& reply = talk.ask(Code::kQueuePop, wire.all());
      if (reply.number > 0) {
        item = reply.strings[0];
        return;
      }
      if (!block) throw_queue_empty(key, describe());
      if (!in_time)
        talk.throw_timeout(queue_timeout_text(key, deadline.elapsed()), missing_of({key}));
    }
  });
  return item;
}

int64_t C10dStore::queue_len(Bytes key) {
  check_key("queue_len", key);
  WireKeys wire({key});
  Request request{"queue_len", key, timeout(), false, false, nullptr, true};
  int64_t size = 0;
  run(request, [&](Conversation& talk) { size = talk.ask(Code::kQueueLen, wire.all()).number; });
  has_queues_ = true;
  return size;
}

// BARRIER adds 1 and waits. Whoever gives up stays counted, as it is with torch's servers: to take
// it back would let all through who wait there. So this store remembers it, and the next caller at
// the key, who is taken for the same, is not counted again.
void C10dStore::barrier_without_ranks(Bytes key, int64_t world_size, Duration timeout) {
  WireKeys wire({key});
  BarrierCall call{{world_size}, wire.one(), key};
  check_key("barrier", key);
  check_barrier(call);
  Request request{"barrier", key, timeout, false, true};
  bool is_counted = take_stayed(key);
  run(request, [&](Conversation& talk) {
    request.is_write = false;
    int64_t count = 0;
    if (!is_counted) {
      Arrival arrival = arrive(call, talk.look_at_meeting(std::string(wire.one()), world_size), {});
      if (arrival.refusal) throw_refused(*arrival.refusal);
      request.is_write = true;
      if (talk.wait(Code::kBarrier, wire.all(), world_size)) return;
      request.is_write = false;
      is_counted = true;
    }
    for (;; talk.pause()) {
      count = talk.number_at(wire.one());
      if (count >= world_size) return;
      if (talk.deadline().passed()) break;
    }
    note_stayed(key);
    talk.throw_timeout(barrier_timeout_text(call, count, {}, talk.deadline().elapsed()),
                       missing_at(key, {}));
  });
}

bool C10dStore::take_stayed(Bytes key) {
  Lock lock(mutex_);
  auto found = stayed_.find(std::string(key));
  if (found == stayed_.end()) return false;
  if (--found->second == 0) stayed_.erase(found);
  return true;
}

void C10dStore::note_stayed(Bytes key) {
  constexpr size_t kKeysMax = 1024;
  Lock lock(mutex_);
  if (stayed_.size() < kKeysMax) ++stayed_[std::string(key)];
}

// The slots and the count of the native BARRIER, so that clients of both protocols may meet in one.
// The slots say who has come; the count is for those who look at it.
void C10dStore::barrier_as(Bytes key, const Seat& seat, Duration timeout) {
  if (!seat.has_rank()) return barrier_without_ranks(key, seat.world_size, timeout);
  WireKeys wire({key});
  BarrierCall call{seat, wire.one(), key, random_token()};
  check_key("barrier", key);
  check_barrier(call);
  ExchangeSlots slots(wire.one(), seat.world_size);
  Bytes own = slots.of(seat.rank);
  Request request{"barrier", key, timeout, false, true};
  run(request, [&](Conversation& talk) {
    MeetingFound found = talk.look_at_meeting(std::string(wire.one()), seat.world_size);
    Arrival arrival = arrive(call, found, talk.value_of(own));
    if (arrival.refusal) throw_refused(*arrival.refusal);
    if (arrival.counts) talk.ask(Code::kAdd, wire.all(), 1);
    std::string in = slot_of(call);
    talk.put(Code::kSet, {own, in});
    std::vector<int64_t> missing = talk.wait_for_ranks(call, slots);
    if (missing.empty()) return;
    std::string left = left_slot_of(call);
    talk.put(Code::kSet, {own, left});
    talk.acknowledge();
    talk.throw_timeout(barrier_timeout_text(call, 0, missing, talk.deadline().elapsed()),
                       missing_at(key, missing));
  });
}

// The slots and the count of the native EXCHANGE, so that clients of both protocols may meet in
// one. Whatever of it is repeated on another connection leaves the count high enough.
std::vector<TakenBytes> C10dStore::exchange(Bytes key, int64_t rank, int64_t world_size,
                                            Bytes value, Duration timeout) {
  WireKeys wire({key});
  ExchangeCall call{wire.one(), key, rank, world_size, value};
  check_key("exchange", key);
  check_value("exchange", key, value);
  if (std::optional<Error> refusal = refusal_of(call)) throw *refusal;
  ExchangeSlots slots(wire.one(), world_size);
  Bytes own = slots.of(rank);
  Request request{"exchange", key, timeout, false, true};
  std::vector<TakenBytes> values;
  run(request, [&](Conversation& talk) {
    MeetingFound found = talk.look_at_meeting(std::string(wire.one()), world_size);
    std::optional<std::string> before = talk.value_of(own);
    Gave gave = !before ? Gave::kNothing : *before == value ? Gave::kTheSame : Gave::kAnother;
    Arrival arrival = arrive(call, found, gave);
    if (!arrival.refusal && arrival.may_be_used && talk.missing_of(slots.all()).empty()) {
      arrival.refusal = used_error(call);
    }
    if (arrival.refusal) throw_refused(*arrival.refusal);
    if (arrival.counts) talk.ask(Code::kAdd, wire.all(), 1);
    if (arrival.writes) talk.put(Code::kSet, {own, value});
    std::vector<Bytes> missing = talk.wait_for_values(slots.all(), values);
    if (missing.empty()) return;
    std::vector<int64_t> ranks;
    for (int64_t other = 0; other < world_size && ranks.size() < missing.size(); ++other) {
      if (missing[ranks.size()] == slots.of(other)) ranks.push_back(other);
    }
    talk.throw_timeout(exchange_timeout_text(key, ranks, world_size, talk.deadline().elapsed()),
                       missing_at(key, ranks));
  });
  return values;
}

void C10dStore::throw_refused(const Error& refusal) const {
  throw Error(refusal.code(), refusal.message() + " (" + describe() + ")");
}

}  // namespace rdzv
