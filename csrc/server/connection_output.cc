// What a connection says, and how it ends.
#include <algorithm>
#include <new>
#include <utility>

#include "base/log.h"
#include "server/connection.h"
#include "server/refusal.h"
#include "store/value_bytes.h"

namespace rdzv {
namespace {

// Of its answers, a connection that is closed is sent so much at most.
constexpr size_t kLastBytes = 256 * 1024;

}  // namespace

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
