// BARRIER of the native protocol. An arrival is written in one step and its request parked until
// the count is enough; whoever leaves before that takes its arrival back, or is marked as gone.
#include <utility>

#include "server/native_protocol.h"
#include "store/meeting.h"

namespace rdzv {

using native::Header;

// What somebody who came has to write, unless it is refused; then it is answered, too.
bool NativeProtocol::come(const Header& header, const TableStep& step) {
  if (step.refusal) {
    reply_error(header, step.refusal->code(), step.refusal->message());
    return false;
  }
  // When all come again because their connections were lost, nothing changes, and what they are
  // told has been made already.
  if (!step.pairs.empty()) context_.apply(change::MultiSet{step.pairs});
  return true;
}

void NativeProtocol::barrier(const Header& header, const native::BarrierRequest& request) {
  const Bytes key = request.key;
  BarrierCall call{
      {request.world_size, request.rank, request.round}, key, as_user_knows(key), request.token};
  if (call.rank == native::kRanklessCaller) {
    call.rank = BarrierCall::kNoRank;
    call.round = 1;
  }
  if (std::optional<Error> refusal = refusal_of(call)) {
    reply_error(header, refusal->code(), refusal->message());
    return;
  }
  if (!may_block(header) || !come(header, arrive(call, context_.state.table()))) return;
  context_.strings.assign(1, key);
  Blocked* blocked = park(header, context_.strings, Table::Need::kCount, call.target());
  if (blocked == nullptr) {
    // All have come; or there is no room for it to wait, and then it has not come either.
    if (context_.state.table().sum(key, 0).value < call.target()) take_back(call);
    return;
  }
  blocked->key = key;
  blocked->rank = call.rank;
  blocked->round = call.round;
  blocked->token = call.token;
  if (call.has_rank()) {
    blocked->slot_version = context_.state.table().find(exchange_slot(key, call.rank))->version;
  }
  set_deadline(*blocked, request.timeout_ms);
}

BarrierCall NativeProtocol::barrier_call(const Blocked& blocked) {
  int64_t world_size = blocked.target / blocked.round;
  return {{world_size, blocked.rank, blocked.round},
          blocked.key,
          as_user_knows(blocked.key),
          blocked.token};
}

// Of a request that is parked no more, and was not let through.
void NativeProtocol::leave_barrier(const Blocked& blocked) {
  if (blocked.header.operation != static_cast<uint8_t>(native::Operation::kBarrier)) return;
  BarrierCall call = barrier_call(blocked);
  if (call.has_rank()) {
    const Table::Value* slot = context_.state.table().find(exchange_slot(call.key, call.rank));
    if (slot == nullptr || slot->version != blocked.slot_version) return;
  }
  take_back(call);
}

void NativeProtocol::take_back(const BarrierCall& call) {
  TableStep step = rdzv::leave(call, context_.state.table());
  if (step.pairs.empty()) return;
  context_.apply(change::MultiSet{step.pairs});
  context_.wake();
}

}  // namespace rdzv
