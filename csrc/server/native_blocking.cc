// Requests of the native protocol that wait: parked in the table with a timer in the loop, answered
// when their need is met, or told at their deadline what is missing.
#include <algorithm>
#include <utility>

#include "base/text.h"
#include "server/native_protocol.h"
#include "server/native_runs.h"
#include "store/exchange.h"
#include "store/store.h"

namespace rdzv {

using native::Header;
using native::Operation;

namespace {

// Of a blocked request, beside what the table has of it: with its timer.
constexpr size_t kBlockedBytes = 384;

bool is_exchange(const Header& header) {
  return header.operation == static_cast<uint8_t>(Operation::kExchange);
}

bool is_of_keys(const Header& header) {
  return header.operation == static_cast<uint8_t>(Operation::kWait) ||
         header.operation == static_cast<uint8_t>(Operation::kMultiGet);
}

}  // namespace

NativeProtocol::Blocked* NativeProtocol::park(const Header& header, const std::vector<Bytes>& keys,
                                              Table::Need need, int64_t target) {
  if (!may_block(header)) return nullptr;
  uint64_t tag = tag_of(header);
  Table::Waiter* waiter = context_.state.view().wait(*this, tag, keys, need, target);
  if (waiter == nullptr) {
    answer(header, keys);
    return nullptr;
  }
  return park(header, waiter, target, is_exchange(header) ? keys.front() : Bytes());
}

void NativeProtocol::block(const Header& header, const SharedKeys& keys, uint32_t timeout_ms,
                           Table::Need need) {
  if (!may_block(header)) return;
  // Whoever finds others waiting need not look.
  if (!context_.state.view().is_awaited(keys, need) &&
      context_.composed.answers.missing(AnswerCache::Form::kNative, keys, need).at.empty()) {
    answer_list(header, keys);
    return;
  }
  Table::Waiter* waiter = context_.state.view().wait(*this, tag_of(header), keys, need);
  if (Blocked* blocked = park(header, waiter, 0, {})) set_deadline(*blocked, timeout_ms);
}

bool NativeProtocol::may_block(const Header& header) {
  if (blocked_.count(tag_of(header)) > 0) {
    reply_error(header, ErrorCode::kProtocol, "a request with this id is still blocked");
    return false;
  }
  if (waits() >= context_.limits.waits_per_connection) {
    reply_error(header, ErrorCode::kLimit, waits_text());
    return false;
  }
  return true;
}

NativeProtocol::Blocked* NativeProtocol::park(const Header& header, Table::Waiter* waiter,
                                              int64_t target, Bytes exchange_key) {
  if (std::optional<std::string> refusal = refuse_parked(context_, connection())) {
    context_.state.view().cancel(waiter);
    reply_error(header, ErrorCode::kLimit,
                native::name_of(static_cast<Operation>(header.operation)) + (": " + *refusal));
    return nullptr;
  }
  context_.budget.spend(Budget::kWait);
  uint64_t tag = tag_of(header);
  Blocked& blocked = blocked_[tag];
  blocked.key = exchange_key;
  blocked.charge = Charge(&connection().memory().parked, kBlockedBytes);
  blocked.header = header;
  blocked.waiter = waiter;
  blocked.target = target;
  return &blocked;
}

void NativeProtocol::set_deadline(Blocked& blocked, uint32_t timeout_ms) {
  blocked.timeout = std::chrono::milliseconds(timeout_ms);
  uint64_t tag = tag_of(blocked.header);
  if (timeout_ms == 0) {
    on_deadline(tag);
  } else if (timeout_ms != native::kNoTimeout) {
    blocked.timer = context_.clock.timers.call_at(context_.clock.now + blocked.timeout,
                                                  [this, tag] { on_deadline(tag); });
  }
}

size_t NativeProtocol::waits() const {
  return blocked_.size() + late_.size() + (runs_ == nullptr ? 0 : runs_->ties().waits());
}

std::string NativeProtocol::waits_text() const {
  return "more than " + std::to_string(context_.limits.waits_per_connection) +
         " blocked requests on one connection; the server's limit is waits_per_connection";
}

void NativeProtocol::block(const Header& header, const std::vector<Bytes>& keys,
                           uint32_t timeout_ms, Table::Need need, int64_t target) {
  if (Blocked* blocked = park(header, keys, need, target)) set_deadline(*blocked, timeout_ms);
}

void NativeProtocol::on_deadline(uint64_t tag) {
  auto found = blocked_.find(tag);
  if (found == blocked_.end()) return;
  if (std::optional<Table::Woken> woken = context_.state.view().take_ripe(found->second.waiter)) {
    on_woken(*woken);
    return;
  }
  std::vector<uint32_t> missing;
  std::string text = deadline_text(found->second, missing);
  context_.state.view().cancel(found->second.waiter);
  Blocked blocked = std::move(found->second);
  blocked_.erase(found);
  reply_timeout(blocked.header, text, std::move(missing));
  leave_barrier(blocked);
}

std::string NativeProtocol::deadline_text(const Blocked& blocked,
                                          std::vector<uint32_t>& missing) const {
  auto name = [&missing](const auto& numbers) {
    size_t count = std::min(numbers.size(), kMissingMax);
    missing.assign(numbers.begin(), numbers.begin() + static_cast<ptrdiff_t>(count));
  };
  auto operation = static_cast<Operation>(blocked.header.operation);
  if (operation == Operation::kExchange) {
    const std::vector<int64_t>& ranks = context_.composed.meetings.missing(
        blocked.key, blocked.target, context_.state.table(), context_.composed.exchanges);
    name(ranks);
    int64_t count = context_.state.table().sum(blocked.key, 0).value;
    return exchange_timeout_text(as_user_knows(blocked.key), ranks, blocked.target, blocked.timeout,
                                 missing_count(ranks, blocked.target, count));
  }
  if (operation == Operation::kBarrier) {
    BarrierCall call = barrier_call(blocked);
    const std::vector<int64_t>& ranks =
        context_.composed.meetings.missing(call, context_.state.table());
    name(ranks);
    int64_t count = context_.state.table().sum(blocked.key, 0).value;
    return barrier_timeout_text(call, count, ranks, blocked.timeout);
  }
  if (is_of_keys(blocked.header)) return list_deadline_text(blocked, missing);
  missing = context_.state.view().missing_positions(*blocked.waiter);
  std::vector<Bytes> keys = context_.state.view().missing_keys(*blocked.waiter);
  if (operation == Operation::kWatch) {
    return watch_timeout_text(as_user_knows(keys.front()), static_cast<uint64_t>(blocked.target),
                              blocked.timeout);
  }
  if (operation == Operation::kQueuePop)
    return queue_timeout_text(as_user_knows(keys.front()), blocked.timeout);
  return timeout_text(native::name_of(operation), {as_user_knows(keys.front())}, 1,
                      blocked.timeout);
}

// Many may be told at once that the same keys are missing.
std::string NativeProtocol::list_deadline_text(const Blocked& blocked,
                                               std::vector<uint32_t>& positions) const {
  auto operation = static_cast<Operation>(blocked.header.operation);
  const SharedKeys& keys = context_.state.view().keys_of(*blocked.waiter);
  std::vector<Bytes> names;
  size_t count = 0;
  if (keys->size() < AnswerCache::kKeysMin) {
    positions = context_.state.view().missing_positions(*blocked.waiter);
    names = context_.state.view().missing_keys(*blocked.waiter);
    count = names.size();
  } else {
    const AnswerCache::Missing& missing = context_.composed.answers.missing(
        AnswerCache::Form::kNative, keys, need_of(blocked.header));
    size_t named = std::min(missing.at.size(), kMissingMax);
    positions.assign(missing.at.begin(), missing.at.begin() + static_cast<ptrdiff_t>(named));
    names = missing.names;
    count = missing.at.size();
  }
  for (Bytes& key : names) key = as_user_knows(key);
  return timeout_text(native::name_of(operation), names, keys->size(), blocked.timeout, count);
}

void NativeProtocol::answer_moment(const Header& header, const Table::Moment& moment) {
  const auto operation = static_cast<Operation>(header.operation);
  if (operation == Operation::kWait || operation == Operation::kBarrier) {
    reply(header, native::Nothing());
    return;
  }
  const bool is_list = operation == Operation::kMultiGet;
  begin_sized_reply(header, (is_list ? sizeof(uint32_t) : 0) + kNoValueBytes + moment.bytes.size());
  if (is_list) native::put_u32(out(), 1);
  put_value({moment.bytes, moment.version});
  connection().reply_ready();
}

void NativeProtocol::on_woken(const Table::Woken& woken) {
  auto found = blocked_.find(woken.tag);
  if (connection().is_ending() || connection().closed()) {
    // It is told nothing any more; and its waiter is gone, so its timer must not find it.
    if (woken.item) context_.apply(change::Unpop{woken.keys->front(), *woken.item});
    if (found == blocked_.end()) return;
    context_.clock.timers.cancel(found->second.timer);
    blocked_.erase(found);
    return;
  }
  if (found == blocked_.end()) return;
  Blocked blocked = std::move(found->second);
  blocked_.erase(found);
  context_.clock.timers.cancel(blocked.timer);
  if (woken.item) {
    reply(blocked.header, native::QueuePopReply{*woken.item});
  } else if (is_exchange(blocked.header)) {
    exchange_on(blocked);
  } else if (woken.moment != nullptr) {
    answer_moment(blocked.header, *woken.moment);
  } else if (woken.keys->size() >= AnswerCache::kKeysMin) {
    answer_list_or_wait(blocked, woken.keys);
  } else {
    answer(blocked.header, woken.keys->all());
  }
}

// Values may have gone since they were all there, for who is told later than at once.
void NativeProtocol::answer_list_or_wait(const Blocked& blocked, const SharedKeys& keys) {
  const Table::Need need = need_of(blocked.header);
  const bool is_due =
      need != Table::Need::kValue ||
      context_.composed.answers.missing(AnswerCache::Form::kNative, keys, need).at.empty();
  if (is_due) return answer_list(blocked.header, keys);
  Table::Waiter* waiter = context_.state.view().wait(*this, tag_of(blocked.header), keys, need);
  Blocked* again = park(blocked.header, waiter, 0, {});
  if (again == nullptr) return;
  again->timeout = blocked.timeout;
  if (!blocked.timer) return;
  again->timer = context_.clock.timers.call_at(
      blocked.timer->first, [this, tag = tag_of(blocked.header)] { on_deadline(tag); });
}

// The cancelled request is not answered: whoever cancels has stopped listening.
void NativeProtocol::cancel(const Header&, const native::CancelRequest& request) {
  Header target;
  target.channel = request.channel;
  target.id = static_cast<uint64_t>(request.id);
  auto found = blocked_.find(tag_of(target));
  if (found == blocked_.end()) {
    if (runs_) runs_->cancel(target);
    return;
  }
  context_.clock.timers.cancel(found->second.timer);
  context_.state.view().cancel(found->second.waiter);
  Blocked blocked = std::move(found->second);
  blocked_.erase(found);
  leave_barrier(blocked);
}

}  // namespace rdzv
