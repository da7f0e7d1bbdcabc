#include "server/connection.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "server/refusal.h"
#include "server/text_protocol.h"
#include "wire/limits.h"
#include "wire/messages.h"

namespace rdzv {
namespace {

// While it is there, a value may be made of the buffer that it came in.
class Offer {
 public:
  Offer(ServerState& state, std::string& buffer) : state_(state) { state.offer(&buffer); }
  ~Offer() { state_.offer(nullptr); }
  Offer(const Offer&) = delete;
  Offer& operator=(const Offer&) = delete;

 private:
  ServerState& state_;
};

}  // namespace

Connection::Connection(Transport& transport, ServerContext& context)
    : transport_(transport),
      context_(&context),
      place_(context.connections.open.size()),
      memory_(context.memory),
      greeting_(context.connections.greetings.await(*this)) {
  ++context.users;
}

Connection::~Connection() {
  while (!has_left_) {
    Budget budget;
    budget.give(Budget::kSlice);
    leave(budget);
  }
  if (greeting_) context_->connections.greetings.forget(*greeting_);
  if (rate_ != nullptr) context_->commons.rates.go(*rate_, peer_host());
  leave_space();
}

void Connection::leave_space() {
  --context_->users;
  if (protocol_ != nullptr) --context_->speakers;
  context_->note_active();
}

void Connection::identify(const tls::Identity& identity) {
  role_ = identity.role;
  enter(identity.space);
}

// If there is no room for another name space, it is in none, and refused as soon as it speaks.
void Connection::enter(Bytes space) {
  ServerContext* entered = nullptr;
  try {
    entered = context_->commons.spaces.enter(space);
  } catch (const std::bad_alloc&) {
    is_out_of_memory_ = true;
  }
  leave_space();
  if (entered == nullptr) entered = &context_->commons.spaces.nowhere();
  context_ = entered;
  ++context_->users;
}

void Connection::receive(Bytes received) {
  const bool has_slice = may_have_slice();
  while (!received.empty() && !closed()) {
    if (!has_whole_value()) {
      received.remove_prefix(keep_value(received));
      if (has_slice && !is_waiting_for_turn()) consume_buffered(Budget::kFirstSlice);
      continue;
    }
    if (in_.empty() && has_slice) {
      size_t used = consume_some(received, Budget::kFirstSlice);
      if (!closed() && used < received.size()) keep(received.substr(used));
      if (!closed()) begin_value();
      break;
    }
    // What comes right behind a greeting does not count as part of it.
    size_t taken = greeting_ ? std::min(received.size(), greeting_room()) : received.size();
    keep(taken > 0 ? received.substr(0, taken) : received);
    if (!closed() && has_slice && !is_waiting_for_turn()) consume_buffered(Budget::kFirstSlice);
    received.remove_prefix(taken > 0 ? taken : received.size());
  }
  if (!closed()) transport_.on_changed();
}

size_t Connection::input_room() const {
  constexpr size_t kLittle = 16 * 1024;
  return context_->connections.first_slices < Budget::kFirstSlices ? SIZE_MAX : kLittle;
}

Connection::Awaited Connection::awaited() const {
  if (in_.empty() || state_ != State::kOpen || protocol_ == nullptr) return {};
  if (value_bytes_ > 0) return {value_bytes_ - value_.size(), 0};
  return {protocol_->missing(), protocol_->expected()};
}

void Connection::consume_buffered(size_t slice) {
  if (!has_whole_value()) {
    if (!is_ending()) state_ = is_stalled() ? State::kStalled : State::kOpen;
    return;
  }
  size_t used = consume_some(in_, slice);
  if (closed()) return;
  if (used > 0) {
    in_.erase(0, used);
    std::string().swap(value_);
    value_bytes_ = 0;
  }
  begin_value();
  if (in_.empty()) release_if_large(in_);
  release_if_mostly_empty(in_);
  charge_input();
}

// What is there of a large value moves to where the rest will come. There is room for all of it, so
// that nothing moves again; of what is not there yet the system gives no memory.
void Connection::begin_value() {
  if (in_.empty() || value_bytes_ > 0 || protocol_ == nullptr || is_ending()) return;
  const size_t begin = protocol_->value_begin(in_);
  if (begin == 0) return;
  const size_t bytes = in_.size() + protocol_->missing() - begin;
  if (bytes > limits::kValueBytesMax) return;
  value_.reserve(bytes);
  value_bytes_ = bytes;
  value_.assign(in_, begin);
  in_.resize(begin);
  charge_input();
}

size_t Connection::keep_value(Bytes input) {
  const Bytes part = input.substr(0, value_bytes_ - value_.size());
  value_.append(part);
  charge_kept(part.size());
  return part.size();
}

size_t Connection::greeting_room() const {
  return context_->limits.greeting_bytes - std::min(in_.size(), context_->limits.greeting_bytes);
}

void Connection::keep(Bytes input) {
  if (greeting_ && input.size() > greeting_room()) {
    close("it sent more than " + std::to_string(context_->limits.greeting_bytes) +
          " bytes before its first request, which must be HELLO or VALIDATE");
    return;
  }
  in_.append(input);
  charge_kept(input.size());
}

void Connection::charge_kept(size_t bytes) {
  context_->connections.first_slices += bytes / Budget::kBytesKeptAUnit;
  charge_input();
  if (context_->memory.input.used() > context_->limits.input_bytes)
    end_the_largest(*context_, kInputAccount);
}

void Connection::charge_input() {
  charges_.input.resize(heap_bytes(in_.capacity()) + value_.size() +
                        (protocol_ == nullptr ? 0 : protocol_->scanned_bytes()));
}

bool Connection::is_stalled() const {
  return congested() || protocol_->is_held_back();
}

size_t Connection::consume_some(Bytes input, size_t slice) {
  if (protocol_ == nullptr && !choose_protocol(input)) return 0;
  context_->budget.give(slice);
  if (rate_ != nullptr && rest()) return 0;
  const size_t allowed = context_->budget.requests_left();
  size_t used = 0;
  {
    const Offer offer(context_->state, value_);
    used = protocol_->consume(input, value_);
  }
  context_->connections.first_slices += context_->budget.spent();
  if (rate_ != nullptr) {
    const ServerCommons& commons = context_->commons;
    const size_t requests = allowed - context_->budget.requests_left();
    rate_->take(requests, commons.clock.awake, commons.rates.each());
  }
  if (closed()) return used;
  debt_ += context_->budget.overdrawn();
  if (greeting_ && protocol_->greeted())
    context_->connections.greetings.forget(*std::exchange(greeting_, std::nullopt));
  if (is_ending() || state_ == State::kFinishing) return used;
  state_ = is_stalled() ? State::kStalled : State::kOpen;
  const bool may_go_on = protocol_->is_in_request() || (used < input.size() && !is_stalled());
  if ((may_go_on && context_->budget.is_spent()) || debt_ > 0) put_off(State::kPutOff);
  return used;
}

// True: the clients of its address have made so many requests that it has to wait.
bool Connection::rest() {
  const ServerCommons& commons = context_->commons;
  const Instant current = commons.clock.awake;
  const uint64_t allowed = rate_->allowed(current, commons.rates.each());
  context_->budget.allow_requests(allowed);
  if (allowed > 0) return false;
  state_ = State::kPutOff;
  context_->clock.awake_timers.cancel(last_timer_);
  last_timer_ = context_->clock.awake_timers.call_at(rate_->next(commons.rates.each()), [this] {
    last_timer_.reset();
    guarded([this] { go_on(); });
  });
  return true;
}

// Those that have not said who they are send little, and few of them have anything to send.
bool Connection::may_have_slice() {
  if (greeting_ || context_->connections.first_slices < Budget::kFirstSlices) return true;
  put_off(State::kUnserved);
  return false;
}

void Connection::put_off(State as) {
  state_ = as;
  (as == State::kUnserved ? context_->connections.unserved : context_->connections.put_off)
      .push_back(this);
}

void Connection::go_on() {
  context_->budget.give(0);
  if (!is_waiting_for_turn()) return;
  const bool is_short = state_ == State::kUnserved || !context_->connections.unserved.empty();
  debt_ -= std::min(debt_, Budget::kSlice);
  if (debt_ > 0) return put_off(State::kPutOff);
  consume_buffered(is_short ? Budget::kFirstSlice : Budget::kSlice);
  if (closed() || is_waiting_for_turn()) return;
  transport_.on_changed();
  transport_.read_again();
}

bool Connection::choose_protocol(Bytes input) {
  const bool is_c10d =
      static_cast<uint8_t>(input[0]) == static_cast<uint8_t>(c10d::Code::kValidate);
  const bool is_native = input[0] == native::kMagic[0];
  const bool is_text = begins_text(input[0]);
  if (!is_c10d && !is_native && !is_text) {
    close("it speaks neither the native nor the c10d protocol; its first bytes are " +
          quoted(input.substr(0, 16)));
    return false;
  }
  if (is_native && role_ == tls::Role::kAdmin && !enter_named_space(input)) return false;
  if (const std::string why = refusal_of_space(); !why.empty()) {
    if (is_native) out().append(refusal_frame(ErrorCode::kLimit, why));
    if (is_text) out().append(why + '\n');
    refuse(why);
    return false;
  }
  if (context_->commons.rates.are_limited()) rate_ = &context_->commons.rates.come(peer_host());
  protocol_ = is_native ? make_native_protocol(*this, *context_)
              : is_text ? make_text_protocol(*this, *context_)
                        : make_c10d_protocol(*this, *context_);
  ++context_->speakers;
  return true;
}

// An admin may be in any name space, and its HELLO says in which. False: that is not there yet.
bool Connection::enter_named_space(Bytes input) {
  using native::Progress;
  native::Preamble preamble;
  const Progress begins = native::take_preamble(input, preamble);
  if (begins != Progress::kTaken) return begins != Progress::kNeedMore;
  native::Frame frame;
  native::HelloRequest hello;
  const Progress progress = native::next_frame(input.substr(native::kPreambleBytes), frame);
  if (progress != Progress::kTaken) return progress != Progress::kNeedMore;
  if (native::take_request(frame, hello) != Progress::kTaken) return true;
  if (tls::is_space(hello.space)) enter(hello.space);
  return true;
}

std::string Connection::refusal_of_space() const {
  if (context_ == &context_->commons.spaces.nowhere()) {
    if (is_out_of_memory_) return "the server has no memory left for its name space";
    return "there are too many name spaces; the server's limit spaces is " +
           std::to_string(context_->limits.spaces);
  }
  const SpaceLimit& most = context_->own_limits.connections;
  if (context_->speakers < most.most) return {};
  return "too many connections are in its name space; " + context_->text_of(most);
}

}  // namespace rdzv
