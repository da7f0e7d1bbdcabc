#include "client/native_store.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/random.h"
#include "base/text.h"
#include "client/dial.h"
#include "client/native_request.h"

namespace rdzv {
namespace {

uint32_t milliseconds_up(Duration duration) {
  auto ms = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
  return static_cast<uint32_t>(std::min<int64_t>(ms, native::kNoTimeout));
}

}  // namespace

Missing NativeStore::Request::missing(ByteReader& answer) const {
  Missing missing;
  if (keys == nullptr && !key.empty()) missing.keys.emplace_back(key);
  for (uint32_t left = answer.u32(); left > 0 && answer.ok(); --left) {
    uint32_t number = answer.u32();
    if (!answer.ok()) break;
    if (names_ranks) missing.ranks.push_back(number);
    if (keys != nullptr && number < keys->size()) missing.keys.emplace_back((*keys)[number]);
  }
  return missing;
}

NativeStore::NativeStore(std::string host, uint16_t port, Duration timeout)
    : RemoteStore(std::move(host), port, timeout) {
  fill_random(session_.data(), session_.size());
}

void NativeStore::connect(const Deadline& deadline) {
  channel(deadline);
}

std::string NativeStore::observed_address() {
  std::lock_guard lock(mutex_);
  return observed_address_;
}

std::shared_ptr<RemoteStore> NativeStore::sibling() const {
  return std::make_shared<NativeStore>(host(), port(), timeout());
}

void NativeStore::close() {
  std::shared_ptr<Channel> channel;
  std::lock_guard lock(mutex_);
  closed_ = true;
  channel.swap(channel_);
  // A forked child shares the connection with its parent, and only lets go of it.
  if (channel != nullptr && is_own_process()) channel->shut_down();
}

std::shared_ptr<Channel> NativeStore::channel(const Deadline& deadline) {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (closed_) throw_closed();
    if (channel_ != nullptr && !channel_->broken()) return channel_;
    if (!connecting_) break;
    connected_.wait_for(lock, std::min(deadline.left(), kInterruptSlice));
    lock.unlock();
    throw_if_interrupted();
    lock.lock();
    if (connecting_ && deadline.passed()) {
      throw Error(ErrorCode::kConnection,
                  describe() + ": still reconnecting after " + seconds_text(deadline.timeout()));
    }
  }
  reconnect(lock, deadline);
  return channel_;
}

// Lets go of the lock while it connects.
void NativeStore::reconnect(std::unique_lock<std::mutex>& lock, const Deadline& deadline) {
  connecting_ = true;
  lock.unlock();
  std::optional<NativePeer> peer;
  UniqueFd fd;
  std::exception_ptr failure;
  try {
    fd = dial(host(), port(), deadline, closed_, [&](Greeting& greeting) {
      peer = greet_native(greeting, session_);
      return peer.has_value();
    });
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  connecting_ = false;
  connected_.notify_all();
  if (closed_) throw_closed();
  if (failure != nullptr) std::rethrow_exception(failure);
  channel_ = std::make_shared<Channel>(std::move(fd));
  observed_address_ = peer->observed_address;
  bool restarted = instance_.has_value() && *instance_ != peer->instance;
  instance_ = peer->instance;
  if (restarted) {
    throw Error(ErrorCode::kRestarted,
                describe() +
                    ": the server was restarted and no longer has the data it had; this "
                    "is said once, the next call uses the new server");
  }
}

uint32_t NativeStore::time_for_server(const Request& request, const Deadline& deadline) {
  if (!request.server_may_wait) return 0;
  return request.timeout >= kForever ? native::kNoTimeout : milliseconds_up(deadline.left());
}

TakenBytes NativeStore::run_taking(Request& request) {
  check_process();
  Deadline deadline = Deadline::after(request.timeout);
  Deadline patient = Deadline::after(request.timeout + kAnswerGrace);
  Deadline reconnect =
      request.is_timed ? patient
                       : Deadline::after(std::min(request.timeout + kAnswerGrace, kReconnectMax));
  for (;;) {
    std::shared_ptr<Channel> channel = this->channel(reconnect);
    if (request.is_timed) {
      std::string left;
      native::put_u32(left, time_for_server(request, deadline));
      request.body.replace(0, left.size(), left);
    }
    Channel::Reply reply = channel->call(request.operation, request.body, patient);
    if (reply.failure == Channel::Failure::kNone) {
      if (reply.status == ErrorCode::kOk) return {std::move(reply.body), reply.body_begin};
      request.answered = true;
      ByteReader reader(reply.body);
      std::string message(native::take_string(reader, reply.body.size()));
      Missing missing;
      if (reply.status == ErrorCode::kTimeout) missing = request.missing(reader);
      throw Error(reply.status, message + " (" + describe() + ")", std::move(missing));
    }
    throw_unless_repeatable(request, reply, *channel);
  }
}

// A request that failed on a broken connection is sent again if that cannot apply it twice.
void NativeStore::throw_unless_repeatable(const Request& request, const Channel::Reply& reply,
                                          Channel& channel) const {
  std::string outcome = !request.is_write ? ""
                        : reply.sent      ? "; it may or may not have been applied"
                                          : "; it was not sent";
  if (reply.failure == Channel::Failure::kTimedOut) {
    throw Error(ErrorCode::kNoAnswer, request.describe(*this) + ": timeout: no answer within " +
                                          seconds_text(request.timeout) +
                                          "; the server is stopped, overloaded or unreachable" +
                                          outcome);
  }
  if (request.is_write && reply.sent) {
    throw Error(ErrorCode::kConnection, request.describe(*this) + ": the connection was lost (" +
                                            channel.broken_text() + ")" + outcome);
  }
}

}  // namespace rdzv
