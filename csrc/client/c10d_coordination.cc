// C10dStore's operations by which callers meet: queues, barriers, exchanges. Composed of requests
// that the c10d protocol has, as those in c10d_operations.cc.
#include "base/error.h"
#include "client/c10d_call.h"
#include "client/c10d_store.h"
#include "store/exchange.h"

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
std::string C10dStore::queue_pop(Bytes key, bool block, Duration timeout) {
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
      if (!in_time) talk.throw_timeout(queue_timeout_text(key, deadline.elapsed()));
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

void C10dStore::barrier(Bytes key, int64_t world_size, Duration timeout) {
  check_key("barrier", key);
  check_world_size(key, world_size);
  WireKeys wire({key});
  Request request{"barrier", key, timeout, true, true};
  run(request, [&](Conversation& talk) {
    if (talk.wait(Code::kBarrier, wire.all(), world_size)) return;
    int64_t count = talk.ask(Code::kAdd, wire.all(), 0).number;
    talk.throw_timeout(barrier_timeout_text(key, count, world_size, talk.deadline().elapsed()));
  });
}

// The slots and the count of the native EXCHANGE, so that clients of both protocols may meet in
// one. Whatever of it is repeated on another connection leaves the count high enough.
std::vector<std::string> C10dStore::exchange(Bytes key, int64_t rank, int64_t world_size,
                                             Bytes value, Duration timeout) {
  check_exchange(key, rank, world_size, value);
  WireKeys wire({key});
  ExchangeSlots slots(wire.one(), world_size);
  Bytes own = slots.of(rank);
  Request request{"exchange", key, timeout, false, true};
  std::vector<std::string> values;
  run(request, [&](Conversation& talk) {
    if (!talk.value_of(own)) talk.ask(Code::kAdd, wire.all(), 1);
    talk.put(Code::kSet, {own, value});
    std::vector<Bytes> missing = talk.wait_for_values(slots.all(), values);
    if (missing.empty()) return;
    std::vector<int64_t> ranks;
    for (int64_t other = 0; other < world_size && ranks.size() < missing.size(); ++other) {
      if (missing[ranks.size()] == slots.of(other)) ranks.push_back(other);
    }
    talk.throw_timeout(exchange_timeout_text(key, ranks, world_size, talk.deadline().elapsed()));
  });
  return values;
}

}  // namespace rdzv
