#include "client/core.h"

#include <algorithm>

#include "base/text.h"
#include "client/patience.h"
#include "wire/limits.h"
#include "wire/messages.h"

namespace rdzv {
namespace {

// An answer of so many bytes becomes its caller's where it was gathered.
constexpr size_t kLargeBytes = 64 * 1024;
constexpr size_t kShownBytesMax = 32;

// A foreign protocol shows in the first bytes, before a whole frame could be there.
bool may_greet(const native::Header& header) {
  constexpr uint32_t kHelloBytesMax = 64 * 1024;
  constexpr auto kAnswer = static_cast<uint8_t>(native::Operation::kHello) | native::kReplyBit;
  return header.operation == kAnswer && header.body_bytes <= kHelloBytesMax;
}

}  // namespace

ClientCore::ClientCore(const native::Id128& session, Bytes client, Bytes space) {
  native::HelloRequest hello;
  hello.session = session;
  hello.client = client;
  hello.space = space;
  native::put_preamble(hello_);
  native::put_request(hello_, hello);
}

Bytes ClientCore::to_send() const {
  if (state_ == State::kGreeting) return hello_;
  if (!can_send() || outgoing_.empty()) return {};
  return Bytes(outgoing_.front().bytes).substr(outgoing_.front().sent);
}

void ClientCore::gather(std::string& out, size_t bytes_max) const {
  if (state_ == State::kGreeting)
    out.append(hello_, 0, bytes_max - std::min(out.size(), bytes_max));
  if (state_ != State::kOpen) return;
  for (const Outgoing& frame : outgoing_) {
    if (out.size() >= bytes_max) return;
    out.append(frame.bytes, frame.sent, bytes_max - out.size());
  }
}

void ClientCore::on_sent(size_t count, Instant now) {
  if (state_ == State::kGreeting) {
    hello_.erase(0, count);
    return;
  }
  while (count > 0 && !outgoing_.empty()) {
    Outgoing& first = outgoing_.front();
    if (first.sent > 0) taken_at_ = now;  // there was no room for the rest, and now there is
    const size_t taken = std::min(count, first.bytes.size() - first.sent);
    first.sent += taken;
    count -= taken;
    outgoing_bytes_ -= taken;
    if (first.sent == first.bytes.size()) outgoing_.pop_front();
  }
}

void ClientCore::receive(Bytes received, Instant now) {
  heard_at_ = now;
  if (in_.empty()) {
    in_.append(received.substr(take_frames(received)));
    make_room();
  } else {
    in_.append(received);
    in_.erase(0, take_frames(in_));
    if (in_.empty() && in_.capacity() > kLargeBytes) std::string().swap(in_);
  }
}

// Gives whole answers to their calls and returns how many bytes they took.
size_t ClientCore::take_frames(Bytes in) {
  size_t used = 0;
  while (state_ != State::kBroken) {
    const Bytes rest = in.substr(used);
    native::Frame frame;
    const native::Progress progress = native::next_frame(rest, frame);
    const bool is_greeting = state_ == State::kGreeting;
    if (is_greeting && rest.size() >= native::kHeaderBytes && !may_greet(frame.header)) {
      break_off("it answered " + quoted(rest.substr(0, kShownBytesMax)), ErrorCode::kProtocol);
      break;
    }
    if (progress == native::Progress::kNeedMore) break;
    const bool is_reply = (frame.header.operation & native::kReplyBit) != 0;
    if (progress == native::Progress::kMalformed || !is_reply) {
      break_off("the server sent something that is not a reply");
      break;
    }
    used += native::kHeaderBytes + frame.body.size();
    if (is_greeting) {
      on_greeting(frame);
    } else {
      on_reply(frame);
    }
  }
  return used;
}

void ClientCore::on_greeting(const native::Frame& frame) {
  if (frame.header.status != 0) {
    native::ErrorReply error;
    if (!native::take(frame.body, error)) error = {};
    // The server is full, or wants a proof; everything else is about what we speak.
    const auto status = static_cast<ErrorCode>(frame.header.status);
    const bool is_known = status == ErrorCode::kLimit || status == ErrorCode::kRefused;
    // Whoever listens there has proved nothing yet, if it ever has to.
    break_off(printable(error.message), is_known ? status : ErrorCode::kUnsupported);
    return;
  }
  native::HelloReply hello;
  if (!native::take(frame.body, hello)) {
    break_off("its HELLO is malformed", ErrorCode::kProtocol);
    return;
  }
  peer_ = {hello.instance, std::string(hello.observed_address),
           (hello.features & native::kOfOneJob) != 0};
  state_ = State::kOpen;
}

void ClientCore::on_reply(const native::Frame& frame) {
  const auto found = calls_.find(frame.header.id);
  if (found == calls_.end()) {
    on_late(frame);
    return;
  }
  Call& call = *found->second;
  call.reply.status = static_cast<ErrorCode>(frame.header.status);
  give_body(call, frame.body);
  finish(call, Outcome::kAnswered);
}

void ClientCore::give_body(Call& call, Bytes body) {
  const bool is_all = body.size() >= kLargeBytes &&
                      body.data() == in_.data() + native::kHeaderBytes &&
                      body.size() == in_.size() - native::kHeaderBytes;
  if (is_all) {
    call.reply.body = std::exchange(in_, {});
    call.reply.body_begin = native::kHeaderBytes;
  } else {
    call.reply.body.assign(body);
  }
}

// For the rest of a large answer that has begun, so that what came is not moved again and again.
void ClientCore::make_room() {
  if (in_.size() < native::kHeaderBytes) return;
  native::Frame frame;
  if (native::next_frame(in_, frame) != native::Progress::kNeedMore) return;
  if (frame.header.body_bytes >= kLargeBytes)
    in_.reserve(native::kHeaderBytes + frame.header.body_bytes);
}

void ClientCore::send(Call& call, Bytes body, Instant now) {
  call.reply = {};
  if (!can_send()) {
    call.reply.outcome = Outcome::kBroken;
    call.reply.sent = false;
    return;
  }
  call.id_ = ++last_id_;
  if (call.operation == native::Operation::kQueuePop) call.queue_ = body.substr(sizeof(uint32_t));
  calls_.emplace_hint(calls_.end(), call.id_, &call);
  if (call.deadline != Timers::kNever) deadlines_.emplace(call.deadline, call.id_);
  if (!call.waits_for_others) prompt_.emplace_back(call.id_, now);
  post(call.operation, call.id_, body);
}

void ClientCore::post(native::Operation operation, uint64_t id, Bytes body) {
  native::Header header;
  header.operation = static_cast<uint8_t>(operation);
  header.id = id;
  Outgoing& outgoing = outgoing_.emplace_back();
  outgoing.id = id;
  outgoing.bytes.reserve(native::kHeaderBytes + body.size());
  const size_t begin = native::begin_frame(outgoing.bytes, header);
  outgoing.bytes.append(body);
  native::end_frame(outgoing.bytes, begin);
  outgoing_bytes_ += outgoing.bytes.size();
}

void ClientCore::finish(Call& call, Outcome outcome) {
  calls_.erase(call.id_);
  if (call.deadline != Timers::kNever) deadlines_.erase({call.deadline, call.id_});
  while (!prompt_.empty() && !calls_.contains(prompt_.front().first)) prompt_.pop_front();
  call.reply.outcome = outcome;
  call.on_over();
}

void ClientCore::end_sending(const std::string& why) {
  if (!can_send()) return;
  broken_.why = why;
  state_ = State::kEnding;
  fail_unsent();
}

// Here a session that its server resumes would keep its calls, unsent and unanswered, to send them
// again on its next connection with the ids they have. As there is none yet, they end: whether what
// was sent was applied is not known.
void ClientCore::break_off(const std::string& why, ErrorCode code) {
  if (state_ == State::kBroken) return;
  if (can_send()) broken_ = {code, why};
  state_ = State::kBroken;
  fail_unsent();
  while (!calls_.empty()) finish(*calls_.begin()->second, Outcome::kBroken);
}

void ClientCore::fail_unsent() {
  outgoing_bytes_ = 0;
  for (const Outgoing& frame : std::exchange(outgoing_, {})) {
    const auto found = calls_.find(frame.id);
    if (frame.sent > 0 || found == calls_.end()) continue;
    found->second->reply.sent = false;
    finish(*found->second, Outcome::kBroken);
  }
}

void ClientCore::give_up(Call& call) {
  if (call.is_over()) {
    // Its caller was interrupted.
    const bool is_item =
        call.reply.outcome == Outcome::kAnswered && call.reply.status == ErrorCode::kOk;
    if (is_item && !call.queue_.empty())
      put_back(call.queue_, Bytes(call.reply.body).substr(call.reply.body_begin));
    return;
  }
  const auto frame = unsent_frame(call.id_);
  if (frame != outgoing_.end() && frame->sent == 0) {
    call.reply.sent = false;
    outgoing_bytes_ -= frame->bytes.size();
    outgoing_.erase(frame);
  } else if (can_send()) {
    send_cancel(call.id_);
    if (!call.queue_.empty()) {
      given_up_pops_.push_back({call.id_, ++last_id_, call.queue_});
      post(native::Operation::kPing, last_id_, {});
    }
  }
  finish(call, Outcome::kTimedOut);
}

std::deque<ClientCore::Outgoing>::iterator ClientCore::unsent_frame(uint64_t id) {
  const auto frame = std::ranges::lower_bound(outgoing_, id, {}, &Outgoing::id);
  return frame != outgoing_.end() && frame->id == id ? frame : outgoing_.end();
}

// Lets the server forget a request that may be blocked there: as many as can be.
void ClientCore::send_cancel(uint64_t id) {
  if (outgoing_.size() > limits::kWaitsPerConnectionMax) return;
  std::string body;
  native::put(body, native::CancelRequest{0, static_cast<native::RequestId>(id)});
  post(native::Operation::kCancel, ++last_id_, body);
}

// An answer whose caller has given up.
void ClientCore::on_late(const native::Frame& frame) {
  const auto pop = std::ranges::find_if(given_up_pops_, [&](const GivenUpPop& one) {
    return one.id == frame.header.id || one.ping == frame.header.id;
  });
  if (pop == given_up_pops_.end()) return;
  const GivenUpPop given_up = std::move(*pop);
  given_up_pops_.erase(pop);
  const bool is_item =
      given_up.id == frame.header.id && frame.header.status == static_cast<uint8_t>(ErrorCode::kOk);
  if (is_item) put_back(given_up.queue, frame.body);
}

// A push is the key and the item, each as a pop has them.
void ClientCore::put_back(Bytes queue, Bytes item) {
  if (can_send()) post(native::Operation::kQueuePush, ++last_id_, std::string(queue).append(item));
}

void ClientCore::probe() {
  // Behind what the peer does not take it would say nothing new.
  if (can_send() && outgoing_.empty()) post(native::Operation::kPing, ++last_id_, {});
}

Instant ClientCore::silent_at() const {
  if (prompt_.empty()) return Timers::kNever;
  return std::max({prompt_.front().second, heard_at_, taken_at_}) + kSilenceMax;
}

Instant ClientCore::next() const {
  return std::min(deadlines_.empty() ? Timers::kNever : deadlines_.begin()->first, silent_at());
}

bool ClientCore::run_due(Instant now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now)
    give_up(*calls_.at(deadlines_.begin()->second));
  bool is_silent = false;
  for (; silent_at() <= now; prompt_.pop_front()) is_silent = true;
  return is_silent;
}

}  // namespace rdzv
