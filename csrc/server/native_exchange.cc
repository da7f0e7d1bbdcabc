// EXCHANGE of the native protocol: everybody gives a value and gets those of all. A request waits
// for the count, which costs little however many ranks there are; only then are the slots looked
// at. If one is still empty (a c10d client fills its slot after it was counted, and a rank that was
// repeated may be counted twice), the request waits on for that.
#include "server/native_session.h"
#include "store/exchange.h"
#include "store/meeting.h"

namespace rdzv {

using native::Header;

void NativeSession::exchange(const Header& header, const native::ExchangeRequest& request) {
  ExchangeCall call{request.key, as_user_knows(request.key), request.rank, request.world_size,
                    request.value};
  if (std::optional<Error> refusal = refusal_of(call)) {
    reply_error(header, refusal->code(), refusal->message());
    return;
  }
  // Where so many have come already, all of them are looked at.
  if (context_.table.sum(request.key, 0).value >= call.world_size)
    context_.budget.spend(static_cast<size_t>(call.world_size) * Budget::kKey);
  if (!come(header, arrive(call, context_.table))) return;
  context_.strings.assign(1, request.key);
  block(header, context_.strings, request.timeout_ms, Table::Need::kCount, call.world_size);
}

// Null if all slots are there.
Table::Waiter* NativeSession::wait_for_slot(uint64_t tag, Bytes key, int64_t world_size) {
  SharedKeys slots = context_.answers.slots(key, world_size);
  const std::vector<int64_t>& missing =
      context_.answers.missing(AnswerCache::Form::kExchange, slots, Table::Need::kValue).at;
  if (missing.empty()) return nullptr;
  return context_.table.wait(*this, tag, {(*slots)[static_cast<size_t>(missing.front())]},
                             Table::Need::kValue);
}

void NativeSession::answer_exchange(const Header& header, Bytes key, int64_t world_size) {
  const AnswerCache::Body& body =
      context_.answers.body(AnswerCache::Form::kExchange, context_.answers.slots(key, world_size));
  if (body.is_too_large) {
    reply_error(header, ErrorCode::kLimit,
                "exchange: the values of all ranks are too large for an answer; give smaller ones");
    return;
  }
  reply_body(header, body);
}

}  // namespace rdzv
