#include "client/c10d_store.h"

#include <algorithm>
#include <array>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/random.h"
#include "base/text.h"
#include "client/c10d_call.h"
#include "client/dial.h"

namespace rdzv {
namespace {

// Kept open between calls; a burst of threads may use more.
constexpr size_t kIdleMax = 16;
// A read that a server closes new connections at this often is one that it does not serve.
constexpr int kClosingsMax = 3;

// Between new connections to a server that does not answer: at first, and at most.
constexpr Duration kTurnPauseMin = std::chrono::milliseconds(50);
constexpr Duration kTurnPauseMax = std::chrono::seconds(1);

std::string random_value() {
  std::array<uint8_t, 16> bytes{};
  fill_random(bytes.data(), bytes.size());
  return std::string(bytes.begin(), bytes.end());
}

}  // namespace

C10dStore::C10dStore(const Place& server_at, Duration timeout)
    : TCPStore(Protocol::kC10d, server_at, timeout), nobodys_value_(random_value()) {}

C10dStore::~C10dStore() = default;

void C10dStore::connect(const Deadline& deadline) {
  if (std::unique_ptr<C10dConnection> connection = take(deadline)) give_back(std::move(connection));
}

std::string C10dStore::observed_address() {
  Lock lock(mutex_);
  return observed_address_;
}

void C10dStore::disconnect() {
  std::vector<std::unique_ptr<C10dConnection>> idle;
  Lock lock(mutex_);
  closed_ = true;
  idle.swap(idle_);
  // A forked child shares the connections with its parent, and only lets go of them.
  if (!is_own_process()) return;
  for (C10dConnection* connection : busy_) connection->shut_down();
}

std::unique_ptr<C10dConnection> C10dStore::take(const Deadline& deadline) {
  std::unique_ptr<C10dConnection> connection;
  {
    Lock lock(mutex_);
    while (connection == nullptr && !idle_.empty()) {
      if (idle_.back()->idle()) connection = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (connection == nullptr && !closed_) {
    if (!wait_for_turn(deadline)) return nullptr;
    try {
      connection = dial_new(deadline, [this] { return closed_.load(); });
    } catch (const Error& error) {
      if (closed_) throw_closed();
      if (error.code() == ErrorCode::kNoAnswer) note_silence();
      throw;
    }
    note_answer();
  }
  Lock lock(mutex_);
  if (closed_) throw_closed();
  observed_address_ = connection->local_address();
  busy_.push_back(connection.get());
  return connection;
}

std::unique_ptr<C10dConnection> C10dStore::dial_new(const Deadline& deadline,
                                                    const Cancelled& cancelled) {
  DialProgress progress;
  return std::make_unique<C10dConnection>(
      dial(host_to_connect(), port(), deadline, cancelled, greet_c10d, progress));
}

void C10dStore::note_silence() {
  std::vector<std::unique_ptr<C10dConnection>> idle;
  Lock lock(mutex_);
  idle.swap(idle_);
  if (!is_silent_.exchange(true)) turn_pause_ = kTurnPauseMin;
}

// Nobody has a place that others wait for: whoever looks at the right moment takes the turn.
bool C10dStore::wait_for_turn(const Deadline& deadline) {
  while (is_silent_ && !closed_) {
    Duration pause;
    {
      Lock lock(mutex_);
      pause = next_turn_ - now();
      if (pause <= Duration::zero()) {
        next_turn_ = now() + turn_pause_;
        turn_pause_ = std::min(2 * turn_pause_, kTurnPauseMax);
        return true;
      }
    }
    if (deadline.passed()) return false;
    std::this_thread::sleep_for(std::min({pause, deadline.left(), kInterruptSlice}));
    throw_if_interrupted();
  }
  return true;
}

void C10dStore::give_back(std::unique_ptr<C10dConnection> connection) {
  Lock lock(mutex_);
  std::erase(busy_, connection.get());
  if (!closed_ && idle_.size() < kIdleMax && connection->idle()) {
    idle_.push_back(std::move(connection));
  }
}

void C10dStore::run(Request& request, const Talk& talk) {
  check_process();
  const Times times(request.timeout, request.is_timed);
  for (int closings = 1;; ++closings) {
    std::unique_ptr<C10dConnection> connection = take(times.reconnect);
    if (connection == nullptr) {
      throw_no_answer(request.describe(*this), request.timeout, request.is_write, false);
    }
    Conversation conversation(*this, request, times.deadline, times.patient, std::move(connection));
    try {
      return talk(conversation);
    } catch (const Conversation::Lost& lost) {
      if (closed_) throw_closed();
      bool is_last = closings >= kClosingsMax;
      bool is_risky = request.is_write && conversation.sent();
      if (!is_last && !is_risky) continue;
      throw_lost(request, lost.why, is_risky);
    }
  }
}

void C10dStore::throw_lost(const Request& request, const std::string& why, bool is_risky) const {
  if (request.is_extension && !is_risky) {
    throw Error(ErrorCode::kUnsupported,
                request.describe(*this) + ": the server closes its connection at this operation (" +
                    why +
                    "); a torch server with use_libuv=False has no queues; use its libuv back-end "
                    "or a rendezvous server");
  }
  throw Error(ErrorCode::kConnection,
              request.describe(*this) + ": the connection was lost (" + why +
                  "); c10d servers also close it to refuse a request: an add to a value that is "
                  "not a number, a request that is too large, an unknown operation" +
                  (is_risky ? kUnknownOutcome : ""));
}

}  // namespace rdzv
