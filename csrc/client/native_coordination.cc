// NativeStore's operations by which callers meet: queues, barriers, exchanges, and waiting for a
// change.
#include "base/error.h"
#include "base/random.h"
#include "client/native_request.h"
#include "client/native_store.h"
#include "store/meeting.h"

namespace rdzv {

void NativeStore::queue_push(Bytes key, Bytes item) {
  check_key("queue_push", key);
  check_value("queue_push", key, item);
  Request request{key, timeout(), true};
  Answer(*this, request, native::QueuePushRequest{key, item});
}

TakenBytes NativeStore::queue_pop(Bytes key, bool block, Duration timeout) {
  check_key("queue_pop", key);
  // One that does not wait may still have to wait for the server.
  Request request{key, block ? timeout : this->timeout(), true, true};
  request.server_may_wait = block;
  try {
    Answer answer(*this, request, native::QueuePopRequest{0, key});
    return std::move(answer).taking(answer.item);
  } catch (const Error& error) {
    if (block || error.code() != ErrorCode::kTimeout || !request.answered) throw;
    throw_queue_empty(key, describe());
  }
}

int64_t NativeStore::queue_len(Bytes key) {
  check_key("queue_len", key);
  Request request{key, timeout()};
  return static_cast<int64_t>(Answer(*this, request, native::QueueLenRequest{key}).count);
}

void NativeStore::barrier_as(Bytes key, const Seat& seat, Duration timeout) {
  const BarrierCall call{seat, key, key, random_token()};
  check_barrier(call);
  // Repeatable with a rank: the server knows the call by its token.
  Request request{call.key, timeout, !call.has_rank(), true};
  request.names_ranks = call.has_rank();
  Answer(*this, request,
         native::BarrierRequest{0, call.key, call.world_size,
                                call.has_rank() ? call.rank : native::kRanklessCaller, call.round,
                                call.token});
}

// Repeatable: the server counts a rank once.
std::vector<TakenBytes> NativeStore::exchange(Bytes key, int64_t rank, int64_t world_size,
                                              Bytes value, Duration timeout) {
  check_exchange({key, key, rank, world_size, value});
  Request request{key, timeout, false, true};
  request.names_ranks = true;
  Answer answer(*this, request, native::ExchangeRequest{0, key, rank, world_size, value});
  if (answer.values.size() != static_cast<uint64_t>(world_size)) answer.throw_unreadable();
  return std::move(answer).taking(std::vector<Bytes>(answer.values.begin(), answer.values.end()));
}

Store::Versioned NativeStore::watch(Bytes key, uint64_t known_version, Duration timeout) {
  check_key("watch", key);
  Request request{key, timeout, false, true};
  Answer answer(*this, request, native::WatchRequest{0, key, known_version});
  const uint64_t version = answer.version;
  return {std::move(answer).taking(answer.value), version};
}

}  // namespace rdzv
