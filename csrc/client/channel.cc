#include "client/channel.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "client/patience.h"
#include "net/socket.h"

namespace rdzv {
namespace {

constexpr size_t kReadBytes = 64 * 1024;

}  // namespace

struct Channel::Call final : ClientCore::Call {
  using ClientCore::Call::Call;
  void on_over() override { changed.notify_one(); }

  Condition changed;  // it is over, or the reader's place is free
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

Channel::Channel(UniqueFd fd, ClientCore core, std::unique_ptr<tls::Session> session)
    : fd_(std::move(fd)),
      buffer_(kReadBytes),
      core_(std::move(core)),
      session_(std::move(session)) {
  allow_slices(fd_.get(), kInterruptSlice);
}

// The deadline is the thread's matter, not the core's: what came in time counts, although its caller
// was in a signal's handler meanwhile, or had no processor.
Channel::Reply Channel::call(const Question& question, const Deadline& deadline,
                             const std::function<void()>& on_silent) {
  Lock lock(mutex_);
  Call call(question.operation);
  call.waits_for_others = question.waits_for_others;
  core_.send(call, question.body, now());
  flush();
  try {
    while (!call.is_over() && !deadline.passed()) {
      if (reading_) {
        wait_as_follower(lock, call, deadline);
      } else {
        wait_as_reader(lock, call, deadline);
      }
      if (call.is_over()) break;
      throw_if_interrupted(lock);
      if (call.is_over() || !has_fallen_silent()) continue;
      lock.unlock();
      on_silent();
      lock.lock();
    }
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    give_up(call);
    throw;
  }
  if (!call.is_over()) look_once_more(lock, call);
  if (!call.is_over()) give_up(call);
  return std::move(call.reply);
}

void Channel::give_up(Call& call) {
  core_.give_up(call);
  flush();
  // It may just have been told that the reader's place is free.
  if (!reading_) pass_reading_on();
}

void Channel::look_once_more(Lock& lock, const Call& call) {
  constexpr int kReadsMax = 64;
  if (reading_) return;
  Reading reading(*this, lock);
  for (int reads = 0; reads < kReadsMax && !call.is_over(); ++reads) {
    if (!read_some(lock, false)) return;
  }
}

// Called with the lock held; lets go of it while it sleeps.
void Channel::wait_as_reader(Lock& lock, Call& call, const Deadline& deadline) {
  Reading reading(*this, lock);
  // Other callers' traffic may keep the socket ready for ever.
  const Instant end = now() + kInterruptSlice;
  do {
    // The usual case, one system call: nothing is left to be sent, and there is time for a slice.
    const bool write = has_unsent();
    const bool wait = !write && deadline.left() >= kInterruptSlice;
    Ready ready{true, false};
    if (!wait) {
      lock.unlock();
      ready = wait_ready(fd_.get(), true, write, std::min(deadline.left(), kInterruptSlice));
      lock.lock();
    }
    if (ready.writable) flush();
    if (!ready.readable || !read_some(lock, wait)) return;
  } while (!call.is_over() && now() < end);
}

void Channel::wait_as_follower(Lock& lock, Call& call, const Deadline& deadline) {
  const Duration slice = std::min(deadline.left(), kInterruptSlice);
  // The reader may be asleep without an eye on the send side: see to one's own request.
  if (has_unsent()) {
    lock.unlock();
    const bool writable = wait_ready(fd_.get(), false, true, slice).writable;
    lock.lock();
    if (writable) flush();
  } else {
    asleep_.push_back(&call);
    call.changed.wait_for(lock, slice);
    std::erase(asleep_, &call);
  }
}

void Channel::pass_reading_on() {
  const auto next = std::ranges::find_if_not(asleep_, &Call::is_over);
  if (next != asleep_.end()) (*next)->changed.notify_one();
}

// The lock is released while the socket is read.
bool Channel::read_some(Lock& lock, bool wait) {
  lock.unlock();
  const long count = wait ? receive_slice(fd_.get(), buffer_.data(), buffer_.size())
                          : receive_some(fd_.get(), buffer_.data(), buffer_.size());
  const int error = errno;
  lock.lock();
  if (count == kWouldBlock) return false;
  if (count == kBroken) {
    break_off(error == 0 ? "the server closed the connection" : errno_text(error));
    return false;
  }
  take(Bytes(buffer_.data(), static_cast<size_t>(count)));
  if (core_.state() == ClientCore::State::kBroken) ::shutdown(fd_.get(), SHUT_RDWR);
  // An item that nobody took is on its way back.
  flush();
  return core_.state() != ClientCore::State::kBroken;
}

void Channel::take(Bytes received) {
  if (session_ == nullptr) {
    core_.receive(received, now());
    return;
  }
  plain_.clear();
  session_->receive(received, plain_);
  if (!plain_.empty()) core_.receive(plain_, now());
  if (session_->state() == tls::Session::State::kFailed) core_.break_off(session_->failure());
  if (session_->state() == tls::Session::State::kEnded)
    core_.break_off("the server closed the connection");
}

bool Channel::has_unsent() const {
  return !core_.to_send().empty() || (session_ != nullptr && !session_->to_send().empty());
}

void Channel::end_sending() {
  core_.end_sending(errno_text(errno));
  ::shutdown(fd_.get(), SHUT_RDWR);  // wakes who reads or writes the socket
}

// False: the socket takes no more now, or never.
bool Channel::flush_secured() {
  for (Bytes out = session_->to_send(); !out.empty(); out = session_->to_send()) {
    const long count = send_some(fd_.get(), out);
    if (count == kWouldBlock) return false;
    if (count == kBroken) {
      end_sending();
      return false;
    }
    session_->on_sent(static_cast<size_t>(count));
  }
  return true;
}

// What the peer has said before it took no more is still read: by then it may have answered.
void Channel::flush() {
  if (session_ != nullptr) {
    // What is encrypted counts as sent: it cannot be taken back. So that is not much.
    while (flush_secured() && session_->is_open()) {
      const Bytes out = core_.to_send().substr(0, 4 * tls::kRecordBytesMax);
      if (out.empty()) return;
      session_->send(out);
      core_.on_sent(out.size(), now());
    }
    return;
  }
  for (Bytes out = core_.to_send(); !out.empty(); out = core_.to_send()) {
    const long count = send_some(fd_.get(), out);
    if (count == kWouldBlock) return;
    if (count == kBroken) {
      end_sending();
      return;
    }
    core_.on_sent(static_cast<size_t>(count), now());
  }
}

void Channel::break_off(const std::string& why) {
  core_.break_off(why);
  ::shutdown(fd_.get(), SHUT_RDWR);  // likewise, and the server lets go
}

bool Channel::has_fallen_silent() {
  const Instant time = now();
  return core_.next() <= time && !alive_since_locked(time - kSilenceMax) && core_.run_due(time);
}

void Channel::probe() {
  Lock lock(mutex_);
  core_.probe();
  flush();
}

bool Channel::alive_since(Instant instant) {
  Lock lock(mutex_);
  return alive_since_locked(instant);
}

bool Channel::alive_since_locked(Instant instant) {
  // Half of a request may have to go on its way, and nobody may be in a call.
  flush();
  return signs_.seen_since(instant, core_, untaken_bytes(fd_.get()), now(),
                           [this] { return !reading_ && has_unread(fd_.get()); });
}

void Channel::shut_down(const std::string& why) {
  Lock lock(mutex_);
  break_off(why);
}

bool Channel::broken() {
  Lock lock(mutex_);
  // A call right behind another is not worth the look; the server rarely goes in between.
  constexpr Duration kFresh = std::chrono::microseconds(100);
  const bool is_broken = core_.state() != ClientCore::State::kOpen;
  if (is_broken || reading_ || core_.in_flight() > 0 || now() - core_.heard_at() < kFresh)
    return is_broken;
  if (session_ != nullptr) {
    // What lies there may be the end of the stream, or news of TLS itself.
    if (!has_unread(fd_.get())) return false;
    Reading reading(*this, lock);
    read_some(lock, false);
    return core_.state() != ClientCore::State::kOpen;
  }
  char byte;
  const ssize_t count = ::recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  const bool is_over = count == 0;
  if (is_over) break_off("the server closed the connection");
  const bool has_failed = count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
  if (has_failed) break_off(errno_text(errno));
  return is_over || has_failed;
}

std::string Channel::broken_text() {
  Lock lock(mutex_);
  return core_.broken().why;
}

void Channel::enter(ClientSession& session) {
  Lock lock(mutex_);
  session.enter(core_);
}

void Channel::leave(ClientSession& session) {
  Lock lock(mutex_);
  session.leave(core_);
}

}  // namespace rdzv
