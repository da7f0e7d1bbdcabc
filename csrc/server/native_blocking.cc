// Requests of the native protocol that wait: parked in the table with a timer in the loop, answered
// when their need is met, or told at their deadline what is missing.
#include <algorithm>
#include <utility>

#include "base/text.h"
#include "server/native_channel.h"
#include "server/native_protocol.h"
#include "server/native_runs.h"
#include "store/exchange.h"
#include "store/store.h"

namespace rdzv {

using native::Header;
using native::Operation;

namespace {

constexpr auto kForm = AnswerCache::Form::kNative;

// Of a blocked request, beside what the table has of it: with its timer.
constexpr size_t kBlockedBytes = 384;

bool is_exchange(const Header& header) {
  return header.operation == static_cast<uint8_t>(Operation::kExchange);
}

bool is_of_changes(const Header& header) {
  return header.operation == static_cast<uint8_t>(Operation::kWatchPrefix);
}

bool is_of_keys(const Header& header) {
  return header.operation == static_cast<uint8_t>(Operation::kWait) ||
         header.operation == static_cast<uint8_t>(Operation::kMultiGet);
}

}  // namespace

NativeChannel::Blocked* NativeChannel::park(const Header& header, const std::vector<Bytes>& keys,
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

// A request for a list of keys that has much to look at: CHECK, or one that may have to wait.
class NativeChannel::OfKeys final : public LongRequest {
 public:
  OfKeys(NativeChannel& channel, const Header& header, SharedKeys keys, uint32_t timeout_ms)
      : channel_(channel), header_(header), keys_(std::move(keys)), timeout_ms_(timeout_ms) {}

  bool go_on(Budget&) override {
    return header_.operation == static_cast<uint8_t>(Operation::kCheck)
               ? channel_.check_list(header_, keys_)
               : channel_.answer_or_block(header_, keys_, timeout_ms_);
  }

 private:
  NativeChannel& channel_;
  const Header header_;
  const SharedKeys keys_;
  const uint32_t timeout_ms_;
};

void NativeChannel::serve_list(const Header& header, const SharedKeys& keys, uint32_t timeout_ms) {
  auto request = std::make_unique<OfKeys>(*this, header, keys, timeout_ms);
  if (!request->go_on(context_.budget)) long_request_ = std::move(request);
}

// False, as of the following: the budget is spent.
bool NativeChannel::check_list(const Header& header, const SharedKeys& keys) {
  const AnswerCache::Missing* missing =
      context_.composed.answers.missing(kForm, keys, Table::Need::kPresent);
  if (missing == nullptr) return false;
  reply(header, native::CheckReply{missing->at.empty()});
  return true;
}

bool NativeChannel::answer_or_block(const Header& header, const SharedKeys& keys,
                                    uint32_t timeout_ms) {
  if (!may_block(header)) return true;
  const Table::Need need = need_of(header);
  size_t first = 0;
  // Whoever finds others waiting need not look.
  if (!context_.state.view().is_awaited(keys, need)) {
    const AnswerCache::Missing* missing = context_.composed.answers.missing(kForm, keys, need);
    if (missing == nullptr) return false;
    if (missing->at.empty()) return answer_list(header, keys);
    first = static_cast<size_t>(missing->at.front());
  }
  Table::Waiter* waiter = context_.state.view().wait(*this, tag_of(header), keys, need, first);
  if (waiter == nullptr) return false;  // the last one has come since
  if (Blocked* blocked = park(header, waiter, 0, {})) set_deadline(*blocked, timeout_ms);
  return true;
}

bool NativeChannel::may_block(const Header& header) {
  if (blocked_.contains(tag_of(header))) {
    reply_error(header, ErrorCode::kProtocol, "a request with this id is still waiting");
    return false;
  }
  if (waits() >= context_.limits.waits_per_connection) {
    reply_error(header, ErrorCode::kLimit, waits_text());
    return false;
  }
  return true;
}

NativeChannel::Blocked* NativeChannel::park(const Header& header, Table::Waiter* waiter,
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

void NativeChannel::set_deadline(Blocked& blocked, uint32_t timeout_ms) {
  blocked.timeout = std::chrono::milliseconds(timeout_ms);
  uint64_t tag = tag_of(blocked.header);
  if (timeout_ms == 0) {
    on_deadline(tag);
  } else if (timeout_ms != native::kNoTimeout) {
    blocked.timer = context_.clock.timers.call_at(context_.clock.now + blocked.timeout,
                                                  [this, tag] { on_deadline(tag); });
  }
}

size_t NativeChannel::waits() const {
  return blocked_.size() + late() + (runs_ == nullptr ? 0 : runs_->ties().waits());
}

std::string NativeChannel::waits_text() const {
  return "more than " + std::to_string(context_.limits.waits_per_connection) +
         " waiting requests on one connection; the server's limit is waits_per_connection";
}

void NativeChannel::block(const Header& header, const std::vector<Bytes>& keys, uint32_t timeout_ms,
                          Table::Need need, int64_t target) {
  if (Blocked* blocked = park(header, keys, need, target)) set_deadline(*blocked, timeout_ms);
}

// One that waited for many keys, whose answer is not made yet.
class NativeChannel::WokenAtList final : public LongRequest {
 public:
  WokenAtList(NativeChannel& channel, Blocked blocked, SharedKeys keys)
      : channel_(channel), blocked_(std::move(blocked)), keys_(std::move(keys)) {}
  bool go_on(Budget&) override { return channel_.answer_list_or_wait(blocked_, keys_); }

 private:
  NativeChannel& channel_;
  const Blocked blocked_;
  const SharedKeys keys_;
};

// Who is told when there is a budget for finding out what is missing.
class NativeChannel::Overdue final : public LongRequest {
 public:
  Overdue(NativeChannel& channel, uint64_t tag) : channel_(channel), tag_(tag) {}
  bool go_on(Budget&) override { return channel_.tell_overdue(tag_); }

 private:
  NativeChannel& channel_;
  const uint64_t tag_;
};

void NativeChannel::on_deadline(uint64_t tag) {
  const auto found = blocked_.find(tag);
  if (found == blocked_.end()) return;
  found->second.is_overdue = true;
  if (late() > 0 || !tell_overdue(tag)) put_off(std::make_unique<Overdue>(*this, tag));
}

// False: the budget is spent. One that was woken meanwhile has its answer.
bool NativeChannel::tell_overdue(uint64_t tag) {
  auto found = blocked_.find(tag);
  if (found == blocked_.end() || !found->second.is_overdue) return true;
  if (std::optional<Table::Woken> woken = context_.state.view().take_ripe(found->second.waiter)) {
    on_woken(*woken);
    return true;
  }
  if (has_all_by_now(found->second)) return true;
  std::vector<uint32_t> missing;
  const std::optional<std::string> text = deadline_text(found->second, missing);
  if (!text) return false;
  context_.state.view().cancel(found->second.waiter);
  Blocked blocked = std::move(found->second);
  blocked_.erase(found);
  reply_timeout(blocked.header, *text, std::move(missing));
  leave_barrier(blocked);
  return true;
}

// Of one that waits for many keys and was not looked at since the last of them came.
bool NativeChannel::has_all_by_now(Blocked& blocked) {
  if (!is_of_keys(blocked.header)) return false;
  const SharedKeys keys = context_.state.view().keys_of(*blocked.waiter);
  if (keys->size() <= Table::kLookedAtOnce) return false;
  const AnswerCache::Missing* missing =
      context_.composed.answers.missing(kForm, keys, need_of(blocked.header));
  if (missing == nullptr || !missing->at.empty()) return false;
  context_.state.view().cancel(blocked.waiter);
  const auto tag = tag_of(blocked.header);
  put_off(std::make_unique<WokenAtList>(*this, std::move(blocked), keys));
  blocked_.erase(tag);
  return true;
}

void NativeChannel::put_off(std::unique_ptr<LongRequest> request) {
  if (late_ == nullptr) late_ = std::make_unique<LateAnswers>(connection());
  late_->push(std::move(request));
  context_.chores.begin(*late_);
}

// None: the budget is spent.
std::optional<std::string> NativeChannel::deadline_text(const Blocked& blocked,
                                                        std::vector<uint32_t>& missing) const {
  auto name = [&missing](const auto& numbers) {
    size_t count = std::min(numbers.size(), kMissingMax);
    missing.assign(numbers.begin(), numbers.begin() + static_cast<ptrdiff_t>(count));
  };
  auto operation = static_cast<Operation>(blocked.header.operation);
  if (operation == Operation::kExchange) {
    const std::vector<int64_t>* ranks = context_.composed.meetings.missing(
        blocked.key, blocked.target, context_.state.table(), context_.composed.exchanges);
    if (ranks == nullptr) return std::nullopt;
    name(*ranks);
    int64_t count = context_.state.table().sum(blocked.key, 0).value;
    return exchange_timeout_text(as_user_knows(blocked.key), *ranks, blocked.target,
                                 blocked.timeout, missing_count(*ranks, blocked.target, count));
  }
  if (operation == Operation::kBarrier) {
    BarrierCall call = barrier_call(blocked);
    const std::vector<int64_t>* ranks =
        context_.composed.meetings.missing(call, context_.state.table());
    if (ranks == nullptr) return std::nullopt;
    name(*ranks);
    int64_t count = context_.state.table().sum(blocked.key, 0).value;
    return barrier_timeout_text(call, count, *ranks, blocked.timeout);
  }
  if (is_of_keys(blocked.header)) return list_deadline_text(blocked, missing);
  missing = context_.state.view().missing_positions(*blocked.waiter);
  std::vector<Bytes> keys = context_.state.view().missing_keys(*blocked.waiter);
  if (operation == Operation::kWatch) {
    return watch_timeout_text(as_user_knows(keys.front()), static_cast<uint64_t>(blocked.target),
                              blocked.timeout);
  }
  if (operation == Operation::kWatchPrefix)
    return watch_prefix_timeout_text(as_user_knows(keys.front()), blocked.timeout);
  if (operation == Operation::kQueuePop)
    return queue_timeout_text(as_user_knows(keys.front()), blocked.timeout);
  return timeout_text(native::name_of(operation), {as_user_knows(keys.front())}, 1,
                      blocked.timeout);
}

// Many may be told at once that the same keys are missing.
std::optional<std::string> NativeChannel::list_deadline_text(
    const Blocked& blocked, std::vector<uint32_t>& positions) const {
  auto operation = static_cast<Operation>(blocked.header.operation);
  const SharedKeys& keys = context_.state.view().keys_of(*blocked.waiter);
  std::vector<Bytes> names;
  size_t count = 0;
  if (keys->size() < AnswerCache::kKeysMin) {
    positions = context_.state.view().missing_positions(*blocked.waiter);
    names = context_.state.view().missing_keys(*blocked.waiter);
    count = names.size();
  } else {
    const AnswerCache::Missing* missing =
        context_.composed.answers.missing(kForm, keys, need_of(blocked.header));
    if (missing == nullptr) return std::nullopt;
    size_t named = std::min(missing->at.size(), kMissingMax);
    positions.assign(missing->at.begin(), missing->at.begin() + static_cast<ptrdiff_t>(named));
    names = missing->names;
    count = missing->at.size();
  }
  for (Bytes& key : names) key = as_user_knows(key);
  return timeout_text(native::name_of(operation), names, keys->size(), blocked.timeout, count);
}

void NativeChannel::answer_moment(const Header& header, const Table::Moment& moment) {
  const auto operation = static_cast<Operation>(header.operation);
  if (operation == Operation::kWait || operation == Operation::kBarrier) {
    reply(header, native::Nothing());
    return;
  }
  const bool is_list = operation == Operation::kMultiGet;
  begin_sized_reply(header, (is_list ? sizeof(uint32_t) : 0) + kNoValueBytes + moment.bytes.size());
  if (is_list) native::put_u32(out(), 1);
  put_value({moment.bytes, moment.version});
  reply_ready();
}

void NativeChannel::on_woken(const Table::Woken& woken) {
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
  } else if (is_of_changes(blocked.header)) {
    tell_changes(blocked, woken.keys->all().front());
  } else if (woken.moment != nullptr) {
    answer_moment(blocked.header, *woken.moment);
  } else if (woken.keys->size() >= AnswerCache::kKeysMin) {
    if (late() > 0 || !answer_list_or_wait(blocked, woken.keys))
      put_off(std::make_unique<WokenAtList>(*this, std::move(blocked), woken.keys));
  } else {
    answer(blocked.header, woken.keys->all());
  }
}

// Values may have gone since they were all there, for who is told later than at once.
bool NativeChannel::answer_list_or_wait(const Blocked& blocked, const SharedKeys& keys) {
  const Table::Need need = need_of(blocked.header);
  if (need != Table::Need::kValue) return answer_list(blocked.header, keys);
  const AnswerCache::Missing* missing = context_.composed.answers.missing(kForm, keys, need);
  if (missing == nullptr) return false;
  if (missing->at.empty()) return answer_list(blocked.header, keys);
  Table::Waiter* waiter = context_.state.view().wait(*this, tag_of(blocked.header), keys, need);
  if (waiter == nullptr) return false;
  Blocked* again = park(blocked.header, waiter, 0, {});
  if (again == nullptr) return true;
  again->timeout = blocked.timeout;
  if (!blocked.timer) return true;
  again->timer = context_.clock.timers.call_at(
      blocked.timer->first, [this, tag = tag_of(blocked.header)] { on_deadline(tag); });
  return true;
}

// The cancelled request is not answered: whoever cancels has stopped listening.
void NativeChannel::cancel(const Header&, const native::CancelRequest& request) {
  Header target;
  target.channel = request.channel;
  target.id = static_cast<uint64_t>(request.id);
  if (NativeChannel* channel = protocol_.find(request.channel)) channel->forget(target);
}

void NativeChannel::forget(const Header& target) {
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
