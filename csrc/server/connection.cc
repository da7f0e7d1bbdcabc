#include "server/connection.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "server/refusal.h"
#include "server/text_protocol.h"
#include "store/value_bytes.h"
#include "wire/limits.h"
#include "wire/messages.h"

namespace rdzv {
namespace {

// Of its answers, a connection that is closed is sent so much at most.
constexpr size_t kLastBytes = 256 * 1024;

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

void Connection::on_refused(int error) {
  std::string why;
  try {
    why = "the system refused a resource it needs: " + refusal_text(error);
  } catch (const std::bad_alloc&) {  // it goes without a word
  }
  close(why);
}

void Connection::finish() {
  if (is_ending()) return;
  if (unsent() == 0) {
    close("");
    return;
  }
  state_ = State::kFinishing;
  context_->clock.awake_timers.cancel(last_timer_);
  send_last();
  transport_.on_changed();
}

// A peer that ended its stream may be slow to read what is left for it. One that reads nothing
// would stay for ever: its host acknowledges, and so neither keep-alive nor the kernel gives it up.
void Connection::send_last() {
  last_timer_ = context_->clock.awake_timers.call_at(
      context_->clock.awake + context_->commons.last_answers_kept, [this, before = unsent()] {
        last_timer_.reset();
        if (unsent() < before) return send_last();
        close("it stopped sending and does not read the remaining " + std::to_string(unsent()) +
              " bytes");
      });
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

bool Connection::congested() const {
  const ServerLimits& limits = context_->limits;
  const uint64_t most = is_shared_ ? limits.unsent_bytes_per_connection / 2 : limits.unread_bytes;
  return unsent() > most || is_ending();
}

bool Connection::has_room(size_t bytes) {
  if (is_ending() || closed()) return false;
  const uint64_t limit = context_->limits.unsent_bytes_per_connection;
  // Who reads may have an answer of any size that the protocol allows.
  if (congested() && out_.held() + bytes > limit) {
    end_unread(bytes);
  } else if (!end_the_largest(*context_, kUnsentAccount, bytes)) {
    end("its answer has " + std::to_string(bytes) + " bytes; the server's limit unsent_bytes is " +
        std::to_string(context_->limits.unsent_bytes));
  }
  return !is_ending();
}

void Connection::end_unread(size_t more) {
  end("it has not read " + std::to_string(out_.held() + more) +
      " bytes of finished or pending answers; the server's limit unsent_bytes_per_connection "
      "is " +
      std::to_string(context_->limits.unsent_bytes_per_connection));
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

void Connection::append(std::string bytes) {
  if (bytes.size() < ValueBytes::kSharedMin) {
    out().append(bytes);
  } else {
    send_shared(std::make_shared<const std::string>(std::move(bytes)));
  }
}

void Connection::reply_ready() {
  if (closed()) {
    out_.clear();
    return;
  }
  const uint64_t limit = context_->limits.unsent_bytes_per_connection;
  if (out_.held() > limit && was_congested_) end_unread(0);
  if (is_ending()) {
    out_.clear();
    return;
  }
  charge_unsent();
  if (context_->memory.unsent.used() > context_->limits.unsent_bytes)
    end_the_largest(*context_, kUnsentAccount);
  flush_later();
}

void Connection::charge_unsent() {
  charges_.unsent.resize(out_.own());
  charges_.shared.resize(out_.held() - out_.own());
  was_congested_ = congested();
}

void Connection::flush_later() {
  if (std::exchange(is_to_be_flushed_, true)) return;
  context_->connections.unsent.push_back(this);
}

void Connection::end(const std::string& why) {
  if (closed() || is_ending()) return;
  state_ = State::kEnding;
  end_reason_ = why;
  out_.clear();
  charge_unsent();
  flush_later();
}

bool Connection::send_unsent(size_t& most) {
  const bool is_there = out_.send(
      [this](std::span<const Bytes> pieces) {
        const std::optional<size_t> taken = transport_.send(pieces);
        sent_ += taken.value_or(0);
        context_->commons.records.counters.sent_bytes += taken.value_or(0);
        return taken;
      },
      most);
  if (protocol_ != nullptr) protocol_->on_sent();
  return is_there;
}

void Connection::resume_sending() {
  if (unsent() > 0) flush_later();
}

void Connection::flush(size_t& most) {
  is_to_be_flushed_ = false;
  if (closed()) return;
  if (is_ending()) {
    close(end_reason_);
    return;
  }
  const bool is_there = send_unsent(most);
  charge_unsent();
  if (!is_there || (state_ == State::kFinishing && unsent() == 0)) {
    close("");
    return;
  }
  if (most == 0) resume_sending();
  if (state_ == State::kStalled && !congested() && !protocol_->is_held_back())
    consume_buffered(Budget::kFirstSlice);
  if (!closed()) transport_.on_changed();
}

void Connection::send_body(const AnswerBody& body) {
  for (const SharedBytes& piece : body.pieces()) {
    if (piece->size() < ValueBytes::kSharedMin) {
      out().append(*piece);
    } else {
      send_shared(piece);
    }
  }
  reply_ready();
}

void Connection::refuse(const std::string& why) {
  if (closed()) return;
  context_->commons.records.audit.refused(*this, "connection", why);
  size_t most = kLastBytes;
  send_unsent(most);  // what it is told
  close("");
}

void Connection::close(const std::string& why) {
  if (closed()) return;
  state_ = State::kClosed;
  if (!why.empty()) {
    say_why(why);
    size_t most = kLastBytes;
    send_unsent(most);  // the answers to what came before
  }
  context_->clock.awake_timers.cancel(last_timer_);
  context_->connections.open.back()->place_ = place_;
  std::swap(context_->connections.open[place_], context_->connections.open.back());
  std::unique_ptr<Connection> self = std::move(context_->connections.open.back());
  context_->connections.open.pop_back();
  if (greeting_) context_->connections.greetings.forget(*std::exchange(greeting_, std::nullopt));
  Budget budget;
  budget.give(Budget::kFirstSlice);
  try {
    leave(budget);
  } catch (const std::bad_alloc&) {
    // There is more of it to clear away later.
  }
  transport_.close();
  context_->connections.departures.add(std::move(self));
}

// Without memory for the words, it goes without.
void Connection::say_why(const std::string& why) {
  try {
    context_->log(LogLevel::kWarning, "closed the connection from " + peer() + ": " + why);
  } catch (const std::bad_alloc&) {
  }
}

bool Connection::leave(Budget& budget) {
  has_left_ = has_left_ || protocol_ == nullptr || protocol_->leave(budget);
  return has_left_;
}

}  // namespace rdzv
