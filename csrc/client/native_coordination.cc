// NativeStore's operations by which callers meet: queues, barriers, exchanges, and waiting for a
// change.
#include "base/error.h"
#include "base/random.h"
#include "client/native_request.h"
#include "client/native_store.h"
#include "store/meeting.h"

namespace rdzv {

using native::Operation;

void NativeStore::queue_push(Bytes key, Bytes item) {
  check_key("queue_push", key);
  check_value("queue_push", key, item);
  Request request{Operation::kQueuePush, key, timeout(), true};
  put_wire_key(request.body, key);
  native::put_string(request.body, item);
  Answer(*this, request, run(request)).finish();
}

std::string NativeStore::queue_pop(Bytes key, bool block, Duration timeout) {
  check_key("queue_pop", key);
  // One that does not wait may still have to wait for the server.
  Request request{Operation::kQueuePop, key, block ? timeout : this->timeout(), true, true};
  request.server_may_wait = block;
  native::put_u32(request.body, 0);
  put_wire_key(request.body, key);
  try {
    Answer answer(*this, request, run(request));
    std::string item(answer.string());
    answer.finish();
    return item;
  } catch (const Error& error) {
    if (block || error.code() != ErrorCode::kTimeout || !request.answered) throw;
    throw_queue_empty(key, describe());
  }
}

int64_t NativeStore::queue_len(Bytes key) {
  check_key("queue_len", key);
  Request request{Operation::kQueueLen, key, timeout()};
  put_wire_key(request.body, key);
  Answer answer(*this, request, run(request));
  int64_t size = answer.reader().i64();
  answer.finish();
  return size;
}

void NativeStore::barrier(Bytes key, int64_t world_size, Duration timeout) {
  meet({key, key, world_size}, timeout);
}

void NativeStore::barrier_as(Bytes key, const Seat& seat, Duration timeout) {
  meet({key, key, seat.world_size, seat.rank, seat.round, random_token()}, timeout);
}

void NativeStore::meet(const BarrierCall& call, Duration timeout) {
  check_barrier(call);
  // Repeatable with a rank: the server knows the call by its token.
  Request request{Operation::kBarrier, call.key, timeout, !call.has_rank(), true};
  request.names_ranks = call.has_rank();
  native::put_u32(request.body, 0);
  put_wire_key(request.body, call.key);
  native::put_u64(request.body, static_cast<uint64_t>(call.world_size));
  native::put_u64(request.body,
                  static_cast<uint64_t>(call.has_rank() ? call.rank : native::kRanklessCaller));
  native::put_u64(request.body, static_cast<uint64_t>(call.round));
  native::put_u64(request.body, call.token);
  Answer(*this, request, run(request)).finish();
}

// Repeatable: the server counts a rank once.
std::vector<std::string> NativeStore::exchange(Bytes key, int64_t rank, int64_t world_size,
                                               Bytes value, Duration timeout) {
  check_exchange({key, key, rank, world_size, value});
  Request request{Operation::kExchange, key, timeout, false, true};
  request.names_ranks = true;
  native::put_u32(request.body, 0);
  put_wire_key(request.body, key);
  native::put_u64(request.body, static_cast<uint64_t>(rank));
  native::put_u64(request.body, static_cast<uint64_t>(world_size));
  native::put_string(request.body, value);
  Answer answer(*this, request, run(request));
  std::vector<std::string> values;
  uint32_t count = answer.reader().u32();
  if (count != static_cast<uint64_t>(world_size)) answer.throw_unreadable();
  values.reserve(count);
  while (values.size() < count && answer.reader().ok()) values.emplace_back(answer.string());
  answer.finish();
  return values;
}

Store::Versioned NativeStore::watch(Bytes key, uint64_t known_version, Duration timeout) {
  check_key("watch", key);
  Request request{Operation::kWatch, key, timeout, false, true};
  native::put_u32(request.body, 0);
  put_wire_key(request.body, key);
  native::put_u64(request.body, known_version);
  return Answer(*this, request, run(request)).versioned();
}

}  // namespace rdzv
