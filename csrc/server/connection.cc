#include "server/connection.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "net/socket.h"
#include "store/value_bytes.h"
#include "wire/limits.h"

namespace rdzv {

Connection::Connection(UniqueFd fd, const SocketAddress& peer, ServerContext& context,
                       const OnClosed& on_closed)
    : fd_(std::move(fd)),
      peer_(peer),
      context_(context),
      on_closed_(on_closed),
      memory_(context.memory),
      place_(context.open.size()) {
  context_.open.push_back(this);
  greeting_ = context_.greetings.await(*this);
}

void Connection::begin() {
  receive();
  if (closed()) return;
  context_.loop.watch_events(fd_.get(), Interest::kRead, *this);
  update_interest();
}

Connection::~Connection() {
  close("");
  while (!has_left_) {
    Budget budget;
    budget.give(Budget::kSlice);
    leave(budget);
  }
}

void Connection::on_ready(bool readable, bool writable) {
  if (is_ending()) return;
  if (readable) receive();
  if (writable && !closed()) flush();
}

void Connection::on_refused(int error) {
  close("the system refuses what it needs: " + refusal_text(error));
}

void Connection::receive() {
  if (is_put_off_) return;  // go_on() reads what has come meanwhile
  std::vector<char>& buffer = context_.receive_buffer;
  long received = receive_some(fd_.get(), buffer.data(), buffer.size());
  if (received == kWouldBlock) return;
  if (received == kBroken) {
    int error = errno;
    if (error == 0 && unsent() > 0) {
      sending_last_ = true;
      update_interest();
      send_last();
      return;
    }
    // A reset is how a killed process looks; only other errors are worth a line.
    bool left = error == 0 || error == ECONNRESET || error == EPIPE;
    close(left ? "" : "receive failed: " + errno_text(error));
    return;
  }
  consume(Bytes(buffer.data(), static_cast<size_t>(received)));
  if (closed()) return;
  update_interest();
  if (static_cast<size_t>(received) == buffer.size() && !is_put_off_)
    context_.loop.call_again(*this);
}

// A peer that ended its stream may be slow to read what is left for it. One that reads nothing
// would stay for ever: its host acknowledges, and so neither keep-alive nor the kernel gives it up.
void Connection::send_last() {
  last_timer_ = context_.loop.call_awake_at(
      context_.loop.awake_now() + context_.last_answers_kept, [this, before = unsent()] {
        last_timer_.reset();
        if (unsent() < before) return send_last();
        close("it has ended its stream and does not read the " + std::to_string(unsent()) +
              " bytes that are left for it");
      });
}

void Connection::consume(Bytes received) {
  const bool has_slice = may_have_slice();
  while (!received.empty() && !closed()) {
    if (in_.empty() && has_slice) {
      size_t used = consume_some(received, Budget::kFirstSlice);
      if (!closed() && used < received.size()) keep(received.substr(used));
      break;
    }
    // What comes right behind a greeting does not count as part of it.
    size_t taken = greeting_ ? std::min(received.size(), greeting_room()) : received.size();
    keep(taken > 0 ? received.substr(0, taken) : received);
    if (!closed() && has_slice) consume_buffered(Budget::kFirstSlice);
    received.remove_prefix(taken > 0 ? taken : received.size());
  }
  if (!closed()) update_low_water();
}

// A large request often comes in small pieces. Nothing can be done with it before it is whole, so
// the kernel may gather some of what is missing before it wakes us. How much that is may be a
// guess: then not for long, for the peer may wait for an answer already.
void Connection::update_low_water() {
  constexpr size_t kWorthIt = 16 * 1024;
  constexpr size_t kGuessWorthIt = 1024;
  constexpr Duration kPatience = std::chrono::milliseconds(1);
  size_t wanted = 1;
  bool is_guess = false;
  if (!in_.empty() && !stalled_ && !is_put_off_ && session_ != nullptr) {
    size_t missing = session_->missing();
    size_t expected = session_->expected();
    is_guess = missing < kWorthIt && expected >= kGuessWorthIt;
    if (is_guess) {
      wanted = expected;
    } else if (missing >= kWorthIt) {
      wanted = missing;
    }
  }
  set_low_water(wanted);
  if (!is_guess) {
    end_patience();
  } else if (!patience_) {
    patience_ = context_.loop.call_at(now() + kPatience, [this] {
      patience_.reset();
      set_low_water(1);
    });
  }
}

void Connection::set_low_water(size_t bytes) {
  constexpr size_t kMost = 64 * 1024;  // half of what the kernel keeps for a connection at first
  auto wanted = static_cast<uint32_t>(std::min(bytes, kMost));
  if (wanted == low_water_) return;
  if (set_receive_low_water(fd_.get(), wanted)) {
    low_water_ = wanted;
  } else if (wanted < low_water_) {
    close("the system would not report what it sends: " + errno_text(errno));
  }
}

void Connection::end_patience() {
  if (patience_) context_.loop.cancel(*std::exchange(patience_, std::nullopt));
}

void Connection::consume_buffered(size_t slice) {
  size_t used = consume_some(in_, slice);
  if (closed()) return;
  in_.erase(0, used);
  if (in_.empty()) release_if_large(in_);
  release_if_mostly_empty(in_);
  charge_input();
}

size_t Connection::greeting_room() const {
  return context_.limits.greeting_bytes - std::min(in_.size(), context_.limits.greeting_bytes);
}

void Connection::keep(Bytes input) {
  if (greeting_ && input.size() > greeting_room()) {
    close("it sent more than " + std::to_string(context_.limits.greeting_bytes) +
          " bytes before it had said who it is; the first request is HELLO or VALIDATE");
    return;
  }
  in_.append(input);
  charge_input();
  if (context_.memory.input.used() > context_.limits.input_bytes)
    end_the_largest(context_, kInputAccount);
}

void Connection::charge_input() {
  input_charge_.resize(heap_bytes(in_.capacity()) +
                       (session_ == nullptr ? 0 : session_->scanned_bytes()));
}

size_t Connection::consume_some(Bytes input, size_t slice) {
  if (session_ == nullptr && !choose_session(input)) return 0;
  context_.budget.give(slice);
  size_t used = session_->consume(input);
  context_.first_slices += context_.budget.spent();
  if (closed()) return used;
  debt_ += context_.budget.overdrawn();
  if (greeting_ && session_->greeted())
    context_.greetings.forget(*std::exchange(greeting_, std::nullopt));
  stalled_ = congested();
  bool may_go_on = session_->is_in_request() || (used < input.size() && !stalled_);
  if ((may_go_on && context_.budget.is_spent()) || debt_ > 0) put_off();
  return used;
}

// Those that have not said who they are send little, and few of them have anything to send.
bool Connection::may_have_slice() {
  if (greeting_ || context_.first_slices < Budget::kFirstSlices) return true;
  is_unserved_ = true;
  put_off();
  return false;
}

void Connection::put_off() {
  if (std::exchange(is_put_off_, true)) return;
  (is_unserved_ ? context_.unserved : context_.put_off).push_back(this);
  context_.loop.leave_unhandled();
}

void Connection::go_on() {
  is_put_off_ = false;
  context_.budget.give(0);
  const bool is_short = std::exchange(is_unserved_, false) || !context_.unserved.empty();
  const size_t slice = is_short ? Budget::kFirstSlice : Budget::kSlice;
  if (closed()) return;
  debt_ -= std::min(debt_, Budget::kSlice);
  if (debt_ > 0) return put_off();
  consume_buffered(slice);
  if (closed() || is_put_off_) return;
  update_low_water();
  update_interest();
  context_.loop.call_again(*this);
}

bool Connection::congested() const {
  return unsent() > context_.limits.unread_bytes || is_ending();
}

bool Connection::has_room(size_t bytes) {
  if (is_ending() || closed()) return false;
  const uint64_t limit = context_.limits.unsent_bytes_per_connection;
  // Who reads may have an answer of any size that the protocol allows.
  if (congested() && out_.held() + bytes > limit) {
    end_unread(bytes);
  } else if (!end_the_largest(context_, kUnsentAccount, bytes)) {
    end("its answer has " + std::to_string(bytes) + " bytes; the server's limit unsent_bytes is " +
        std::to_string(context_.limits.unsent_bytes));
  }
  return !is_ending();
}

void Connection::end_unread(size_t more) {
  end("it has not read " + std::to_string(out_.held() + more) +
      " bytes of answers that are there or due; the server's limit unsent_bytes_per_connection "
      "is " +
      std::to_string(context_.limits.unsent_bytes_per_connection));
}

bool Connection::choose_session(Bytes input) {
  if (static_cast<uint8_t>(input[0]) == static_cast<uint8_t>(c10d::Code::kValidate)) {
    session_ = make_c10d_session(*this, context_);
    return true;
  }
  if (input[0] == native::kMagic[0]) {
    session_ = make_native_session(*this, context_);
    return true;
  }
  close("it speaks neither of our protocols; its first bytes are " + quoted(input.substr(0, 16)));
  return false;
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
  const uint64_t limit = context_.limits.unsent_bytes_per_connection;
  if (out_.held() > limit && was_congested_) end_unread(0);
  if (is_ending()) {
    out_.clear();
    return;
  }
  charge_unsent();
  if (context_.memory.unsent.used() > context_.limits.unsent_bytes)
    end_the_largest(context_, kUnsentAccount);
  flush_later();
}

void Connection::charge_unsent() {
  unsent_charge_.resize(out_.own());
  shared_charge_.resize(out_.held() - out_.own());
  was_congested_ = congested();
}

void Connection::flush_later() {
  if (std::exchange(in_unsent_list_, true)) return;
  context_.unsent.push_back(this);
}

void Connection::end(const std::string& why) {
  if (closed() || is_ending()) return;
  end_reason_ = why;
  out_.clear();
  charge_unsent();
  flush_later();
}

void Connection::flush() {
  in_unsent_list_ = false;
  if (closed()) return;
  if (is_ending()) {
    close(end_reason_);
    return;
  }
  const bool is_open = out_.send_to(fd_.get());
  charge_unsent();
  if (!is_open || (sending_last_ && unsent() == 0)) {
    close("");
    return;
  }
  if (stalled_ && !is_put_off_ && !congested()) consume_buffered(Budget::kFirstSlice);
  if (!closed()) update_interest();
}

void Connection::update_interest() {
  if (congested() || sending_last_) {
    context_.loop.set_interest(*this, Interest::kWrite);
  } else {
    bool sent_all = unsent() == 0 || in_unsent_list_;
    context_.loop.set_interest(*this, sent_all ? Interest::kRead : Interest::kBoth);
  }
}

void Session::send_body(const AnswerCache::Body& body) {
  for (const SharedBytes& piece : body.pieces) {
    if (piece->size() < ValueBytes::kSharedMin) {
      connection_.out().append(*piece);
    } else {
      connection_.send_shared(piece);
    }
  }
  connection_.reply_ready();
}

void Connection::close(const std::string& why) {
  if (closed()) return;
  if (!why.empty()) {
    log(LogLevel::kWarning,
        context_.name + ": closed the connection from " + peer_.to_string() + ": " + why);
    out_.send_to(fd_.get());  // the answers to what came before
  }
  end_patience();
  context_.loop.unwatch(*this);
  if (last_timer_) context_.loop.cancel(*last_timer_);
  int fd = fd_.get();
  fd_.reset();
  context_.open.back()->place_ = place_;
  std::swap(context_.open[place_], context_.open.back());
  context_.open.pop_back();
  if (greeting_) context_.greetings.forget(*std::exchange(greeting_, std::nullopt));
  Budget budget;
  budget.give(Budget::kFirstSlice);
  leave(budget);
  on_closed_(fd);
}

bool Connection::leave(Budget& budget) {
  has_left_ = has_left_ || session_ == nullptr || session_->leave(budget);
  return has_left_;
}

}  // namespace rdzv
