// EXCHANGE of the native protocol: everybody gives a value and gets those of all. A request waits
// for the count, which costs little however many ranks there are; only then are the slots looked
// at. If one is still empty (a c10d client fills its slot after it was counted, and a rank that was
// repeated may be counted twice), the request waits on for that.
#include <optional>
#include <utility>

#include "server/native_channel.h"
#include "store/exchange.h"
#include "store/meeting.h"

namespace rdzv {

using native::Header;

// A request that may have much to look at. It has come already, or does once that is known.
class NativeChannel::Exchanging final : public LongRequest {
 public:
  Exchanging(NativeChannel& channel, const Header& header, Bytes key, int64_t world_size)
      : channel_(channel), header_(header), key_(key), world_size_(world_size) {}

  // Has to come first.
  void come_with(int64_t rank, Bytes value) {
    rank_ = rank;
    value_.emplace(value);
  }
  // If it has to wait: one that begins to, or one that has waited and goes on.
  void wait_for(uint32_t timeout_ms) { timeout_ms_ = timeout_ms; }
  void wait_until(std::optional<Instant> due, Duration timeout) {
    is_going_on_ = true;
    due_ = due;
    timeout_ = timeout;
  }

  bool go_on(Budget& budget) override {
    using State = Exchanges::Progress::State;
    ServerContext& context = channel_.context_;
    Exchanges::Progress found = context.composed.exchanges.ask(key_, world_size_, budget);
    if (found.state == State::kSpent) return false;
    if (value_) {
      const Bytes value = *value_;
      ExchangeCall call{key_, as_user_knows(key_), rank_, world_size_, value};
      const bool is_whole = found.state == State::kWhole;
      const bool has_come =
          channel_.come(header_, arrive(call, context.state.table(), [&] { return is_whole; }));
      value_.reset();
      if (!has_come) return true;
      context.wake();
      found = context.composed.exchanges.ask(key_, world_size_, budget);
      if (found.state == State::kSpent) return false;
    }
    if (found.state == State::kMissing) {
      wait(found.rank);
    } else {
      answer(*found.body);
    }
    return true;
  }

 private:
  void wait(int64_t rank) {
    if (!channel_.may_block(header_)) return;
    ServerContext& context = channel_.context_;
    const std::string slot = exchange_slot(key_, rank);
    Table::Waiter* waiter =
        context.state.view().wait(channel_, tag_of(header_), {slot}, Table::Need::kValue);
    Blocked* blocked = channel_.park(header_, waiter, world_size_, key_);
    if (blocked == nullptr) return;
    if (!is_going_on_) return channel_.set_deadline(*blocked, timeout_ms_);
    blocked->timeout = timeout_;
    if (!due_) return;
    blocked->timer = context.clock.timers.call_at(
        *due_, [channel = &channel_, tag = tag_of(header_)] { channel->on_deadline(tag); });
  }

  void answer(const AnswerBody& body) {
    if (body.is_too_large()) {
      channel_.reply_error(header_, ErrorCode::kLimit,
                           "exchange: the values of all ranks are too large for one answer; "
                           "exchange smaller values");
    } else {
      channel_.reply_body(header_, body);
    }
  }

  NativeChannel& channel_;
  const Header header_;
  const std::string key_;
  const int64_t world_size_;
  int64_t rank_ = 0;
  std::optional<std::string> value_;  // until it has come
  uint32_t timeout_ms_ = 0;
  bool is_going_on_ = false;
  std::optional<Instant> due_;
  Duration timeout_{};
};

void NativeChannel::exchange(const Header& header, const native::ExchangeRequest& request) {
  ExchangeCall call{request.key, as_user_knows(request.key), request.rank, request.world_size,
                    request.value};
  if (std::optional<Error> refusal = refusal_of(call)) {
    reply_error(header, refusal->code(), refusal->message());
    return;
  }
  const auto is_counted = [&] {
    return context_.state.table().sum(request.key, 0).value >= request.world_size;
  };
  // Where so many have already arrived, all of them are looked at before this one comes.
  const bool comes_last = is_counted();
  if (!comes_last) {
    if (!come(header, arrive(call, context_.state.table()))) return;
    if (!is_counted()) {
      context_.strings.assign(1, request.key);
      block(header, context_.strings, request.timeout_ms, Table::Need::kCount, request.world_size);
      return;
    }
  }
  auto exchanging = std::make_unique<Exchanging>(*this, header, request.key, request.world_size);
  exchanging->wait_for(request.timeout_ms);
  if (comes_last) exchanging->come_with(request.rank, request.value);
  if (!exchanging->go_on(context_.budget)) long_request_ = std::move(exchanging);
}

// So many have come, or the one who was missing: whether all have is looked at now, or later.
void NativeChannel::exchange_on(const Blocked& blocked) {
  auto request = std::make_unique<Exchanging>(*this, blocked.header, blocked.key, blocked.target);
  std::optional<Instant> due;
  if (blocked.timer) due = blocked.timer->first;
  request->wait_until(due, blocked.timeout);
  if (late() == 0 && request->go_on(context_.budget)) return;
  put_off(std::move(request));
}

}  // namespace rdzv
