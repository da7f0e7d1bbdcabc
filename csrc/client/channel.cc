#include "client/channel.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/interrupt.h"
#include "net/socket.h"
#include "wire/limits.h"
#include "wire/messages.h"

namespace rdzv {

struct Channel::Call {
  uint64_t id = 0;
  native::Operation operation{};
  Bytes queue;  // of a QUEUE_POP: the key, as in the request
  bool done = false;
  bool asleep = false;  // else its thread looks by itself, or runs a signal's handler
  Reply reply;
  Condition changed;  // done, broken, or the reader's place is free
};

// The reader's place while a thread has it. The lock is held at either end.
class Channel::Reading {
 public:
  Reading(Channel& channel, Lock& lock) : channel_(channel), lock_(lock) {
    channel_.reading_ = true;
  }
  ~Reading() {
    if (!lock_.owns_lock()) lock_.lock();
    channel_.reading_ = false;
    channel_.pass_reading_on();
  }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

 private:
  Channel& channel_;
  Lock& lock_;
  HeldRole role_;
};

Channel::Channel(UniqueFd fd) : fd_(std::move(fd)) {
  allow_slices(fd_.get(), kInterruptSlice);
}

Channel::Reply Channel::call(native::Operation operation, Bytes body, const Deadline& deadline,
                             const Silence& silence) {
  Lock lock(mutex_);
  Call call;
  call.operation = operation;
  if (broken_) {
    call.reply.failure = Failure::kBroken;
    call.reply.sent = false;
    return call.reply;
  }
  call.id = ++last_id_;
  if (operation == native::Operation::kQueuePop) call.queue = body.substr(sizeof(uint32_t));
  calls_.emplace(call.id, &call);
  post(operation, call.id, body);
  const Instant begin = now();
  bool acted = silence.allowed >= kForever;
  try {
    while (!call.done && !broken_ && !deadline.passed()) {
      if (reading_) {
        wait_as_follower(lock, call, deadline);
      } else {
        wait_as_reader(lock, call, deadline);
      }
      if (call.done || broken_) break;
      throw_if_interrupted(lock);
      if (acted || call.done || broken_) continue;
      const Instant quiet_since = now() - silence.allowed;
      if (quiet_since < begin || alive_since_locked(quiet_since) || taken_at_ > quiet_since)
        continue;
      acted = true;
      lock.unlock();
      silence.act();
      lock.lock();
    }
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    give_up(call);
    throw;
  }
  if (!call.done) look_once_more(lock, call);
  return call.done ? std::move(call.reply) : give_up(call);
}

// What came in time counts, although its caller was in a signal's handler meanwhile, or had no
// processor.
void Channel::look_once_more(Lock& lock, const Call& call) {
  constexpr int kReadsMax = 64;
  if (reading_ || broken_) return;
  Reading reading(*this, lock);
  for (int reads = 0; reads < kReadsMax && !call.done; ++reads) {
    if (read_some(lock, false) != Read::kSomething) return;
  }
}

void Channel::post(native::Operation operation, uint64_t id, Bytes body) {
  native::Header header;
  header.operation = static_cast<uint8_t>(operation);
  header.id = id;
  Outgoing outgoing;
  outgoing.id = id;
  outgoing.bytes.reserve(native::kHeaderBytes + body.size());
  size_t begin = native::begin_frame(outgoing.bytes, header);
  outgoing.bytes.append(body);
  native::end_frame(outgoing.bytes, begin);
  outgoing_.push_back(std::move(outgoing));
  flush();
}

// Called with the lock held; lets go of it while it sleeps.
void Channel::wait_as_reader(Lock& lock, Call& call, const Deadline& deadline) {
  Reading reading(*this, lock);
  // Other callers' traffic may keep the socket ready for ever.
  const Instant end = now() + kInterruptSlice;
  do {
    // The usual case, one system call: nothing is left to be sent, and there is time for a slice.
    bool wait = outgoing_.empty() && deadline.left() >= kInterruptSlice;
    Ready ready{true, false};
    if (!wait) {
      bool write = !outgoing_.empty();
      lock.unlock();
      ready = wait_ready(fd_.get(), true, write, std::min(deadline.left(), kInterruptSlice));
      lock.lock();
    }
    if (ready.writable) flush();
    if (!ready.readable || read_some(lock, wait) != Read::kSomething) return;
  } while (!call.done && !broken_ && now() < end);
}

void Channel::wait_as_follower(Lock& lock, Call& call, const Deadline& deadline) {
  Duration slice = std::min(deadline.left(), kInterruptSlice);
  // The reader may be asleep without an eye on the send side: see to one's own request.
  if (!outgoing_.empty()) {
    lock.unlock();
    bool writable = wait_ready(fd_.get(), false, true, slice).writable;
    lock.lock();
    if (writable) flush();
  } else {
    call.asleep = true;
    call.changed.wait_for(lock, slice);
    call.asleep = false;
  }
}

void Channel::pass_reading_on() {
  for (auto& [id, waiting] : calls_) {
    if (waiting->done || !waiting->asleep) continue;
    waiting->changed.notify_one();
    return;
  }
}

// The lock is released while the socket is read.
Channel::Read Channel::read_some(Lock& lock, bool wait) {
  lock.unlock();
  long count = wait ? receive_slice(fd_.get(), buffer_.data(), buffer_.size())
                    : receive_some(fd_.get(), buffer_.data(), buffer_.size());
  int error = errno;
  lock.lock();
  if (count == kWouldBlock) return Read::kNothing;
  if (count == kBroken) {
    break_off(error == 0 ? "the server closed the connection" : errno_text(error));
    return Read::kBroken;
  }
  heard_at_ = now();
  Bytes received(buffer_.data(), static_cast<size_t>(count));
  if (in_.empty()) {
    in_.append(received.substr(hand_out(received)));
    make_room();
  } else {
    in_.append(received);
    in_.erase(0, hand_out(in_));
    if (in_.empty() && in_.capacity() > kReadBytes) std::string().swap(in_);
  }
  return broken_ ? Read::kBroken : Read::kSomething;
}

// Gives whole replies to their callers and returns how many bytes they took.
size_t Channel::hand_out(Bytes in) {
  size_t used = 0;
  for (;;) {
    native::Frame frame;
    native::Progress progress = native::next_frame(in.substr(used), frame);
    if (progress == native::Progress::kNeedMore) return used;
    bool is_reply = (frame.header.operation & native::kReplyBit) != 0;
    if (progress == native::Progress::kMalformed || !is_reply) {
      break_off("the server sent what is no reply");
      return used;
    }
    used += native::kHeaderBytes + frame.body.size();
    auto found = calls_.find(frame.header.id);
    if (found == calls_.end()) {
      on_late(frame);
      continue;
    }
    Call& call = *found->second;
    calls_.erase(found);
    call.reply.status = static_cast<ErrorCode>(frame.header.status);
    give_body(call, frame.body);
    call.done = true;
    call.changed.notify_one();
  }
}

// A large answer becomes its caller's where it was gathered.
void Channel::give_body(Call& call, Bytes body) {
  bool is_all = body.size() >= kReadBytes && body.data() == in_.data() + native::kHeaderBytes &&
                body.size() == in_.size() - native::kHeaderBytes;
  if (is_all) {
    call.reply.body = std::exchange(in_, {});
    call.reply.body_begin = native::kHeaderBytes;
  } else {
    call.reply.body.assign(body);
  }
}

// For the rest of a large answer that has begun, so that what came is not moved again and again.
void Channel::make_room() {
  if (in_.size() < native::kHeaderBytes) return;
  native::Frame frame;
  if (native::next_frame(in_, frame) != native::Progress::kNeedMore) return;
  if (frame.header.body_bytes >= kReadBytes)
    in_.reserve(native::kHeaderBytes + frame.header.body_bytes);
}

void Channel::flush() {
  while (!outgoing_.empty() && !broken_) {
    Outgoing& first = outgoing_.front();
    long count = send_some(fd_.get(), Bytes(first.bytes).substr(first.sent));
    if (count == kWouldBlock) return;
    if (count == kBroken) {
      break_off(errno_text(errno));
      return;
    }
    if (first.sent > 0) taken_at_ = now();  // there was no room for the rest, and now there is
    first.sent += static_cast<size_t>(count);
    if (first.sent == first.bytes.size()) outgoing_.pop_front();
  }
}

void Channel::break_off(const std::string& why) {
  if (std::exchange(broken_, true)) return;
  broken_text_ = why;
  ::shutdown(fd_.get(), SHUT_RDWR);  // wakes who reads or writes the socket, and the server lets go
  for (auto& [id, waiting] : calls_) waiting->changed.notify_one();
}

Channel::Reply Channel::give_up(Call& call) {
  if (call.done) {
    // Its caller was interrupted.
    if (call.reply.status == ErrorCode::kOk && !call.queue.empty())
      put_back(call.queue, Bytes(call.reply.body).substr(call.reply.body_begin));
    return std::move(call.reply);
  }
  calls_.erase(call.id);
  // It may just have been told that the reader's place is free.
  if (!reading_) pass_reading_on();
  call.reply.failure = broken_ ? Failure::kBroken : Failure::kTimedOut;
  for (auto frame = outgoing_.begin(); frame != outgoing_.end(); ++frame) {
    if (frame->id != call.id || frame->sent > 0) continue;
    call.reply.sent = false;
    outgoing_.erase(frame);
    return std::move(call.reply);
  }
  if (broken_) return std::move(call.reply);
  send_cancel(call.id);
  if (!call.queue.empty()) await_late_item(call);
  return std::move(call.reply);
}

// Lets the server forget a request that may be blocked there.
void Channel::send_cancel(uint64_t id) {
  constexpr size_t kCancelsQueuedMax = 1024;
  if (outgoing_.size() > kCancelsQueuedMax) return;
  std::string body;
  native::put(body, native::CancelRequest{0, static_cast<native::RequestId>(id)});
  post(native::Operation::kCancel, ++last_id_, body);
}

void Channel::await_late_item(const Call& call) {
  given_up_pops_.push_back({call.id, ++last_id_, std::string(call.queue)});
  post(native::Operation::kPing, last_id_, {});
}

// An answer whose caller has given up.
void Channel::on_late(const native::Frame& frame) {
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
void Channel::put_back(Bytes queue, Bytes item) {
  if (!broken_) post(native::Operation::kQueuePush, ++last_id_, std::string(queue).append(item));
}

void Channel::probe() {
  Lock lock(mutex_);
  // Behind what the peer does not take it would say nothing new.
  if (!broken_ && outgoing_.empty()) post(native::Operation::kPing, ++last_id_, {});
}

bool Channel::alive_since(Instant instant) {
  Lock lock(mutex_);
  return alive_since_locked(instant);
}

bool Channel::alive_since_locked(Instant instant) {
  // Half of a request may have to go on its way, and nobody may be in a call.
  if (!outgoing_.empty()) flush();
  if (broken_) return false;
  size_t untaken = untaken_bytes(fd_.get());
  if (untaken < untaken_) taken_at_ = now();
  untaken_ = untaken;
  if (heard_at_ > instant) return true;
  if (taken_at_ > instant && (untaken > 0 || !outgoing_.empty())) return true;
  char byte;
  return !reading_ && ::recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void Channel::shut_down(const std::string& why) {
  Lock lock(mutex_);
  break_off(why);
}

bool Channel::broken() {
  Lock lock(mutex_);
  // A call right behind another is not worth the look; the server rarely goes in between.
  constexpr Duration kFresh = std::chrono::microseconds(100);
  if (broken_ || reading_ || !calls_.empty() || now() - heard_at_ < kFresh) return broken_;
  char byte;
  ssize_t count = ::recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (count == 0) break_off("the server closed the connection");
  if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
    break_off(errno_text(errno));
  return broken_;
}

std::string Channel::broken_text() {
  Lock lock(mutex_);
  return broken_text_;
}

}  // namespace rdzv
