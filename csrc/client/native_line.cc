#include "client/native_line.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <optional>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/mutex.h"
#include "base/random.h"
#include "client/dial.h"
#include "client/line_rules.h"
#include "client/patience.h"
#include "net/address.h"
#include "net/thread.h"

namespace rdzv {
namespace {

native::Id128 random_id() {
  native::Id128 id;
  fill_random(id.data(), id.size());
  return id;
}

}  // namespace

struct NativeLine::Dialling {
  explicit Dialling(Deadline end) : deadline(end) {}

  const Deadline deadline;
  DialProgress progress;
  // It is to be replaced, unless it shows that it lives.
  std::shared_ptr<Channel> suspect;
  Instant suspected_at{};
  Duration silent{};
  bool done = false;             // with State::mutex
  std::optional<Error> failure;  // likewise
};

struct NativeLine::State {
  std::string name;
  std::string host;
  uint16_t port = 0;
  std::shared_ptr<tls::Keeper> keeper;
  std::atomic<bool> closed{false};

  mutable Mutex mutex;  // protects all below
  Condition changed;
  std::shared_ptr<Channel> channel;
  std::shared_ptr<Dialling> dialling;  // one at most
  ClientSession session{random_id()};
  Calm calm;

  bool is_suspected() const { return dialling != nullptr && dialling->suspect != nullptr; }
};

NativeLine::NativeLine(std::string host, uint16_t port, std::string name,
                       std::shared_ptr<tls::Keeper> keeper)
    : state_(std::make_shared<State>()) {
  state_->name = std::move(name);
  state_->host = std::move(host);
  state_->port = port;
  state_->keeper = std::move(keeper);
}

NativeLine::~NativeLine() {
  state_->closed = true;
}

std::string NativeLine::observed_address() const {
  Lock lock(state_->mutex);
  return state_->session.observed_address();
}

bool NativeLine::is_of_one_job() const {
  Lock lock(state_->mutex);
  return state_->session.is_of_one_job();
}

bool NativeLine::is_closed() const {
  return state_->closed;
}

void NativeLine::close(bool is_own_process) {
  state_->closed = true;
  // In a forked child a thread that it does not have may hold the lock.
  if (!is_own_process) return;
  std::shared_ptr<Channel> channel;
  Lock lock(state_->mutex);
  channel.swap(state_->channel);
  if (channel != nullptr) channel->shut_down("the store was closed");
  state_->changed.notify_all();
}

std::shared_ptr<Channel> NativeLine::channel(const Deadline& deadline, Known& known) {
  State& state = *state_;
  Lock lock(state.mutex);
  if (!known) known = state.session.restarts();
  std::optional<Error> earlier;  // how a dial before this one ended
  for (;;) {
    if (state.closed) throw closed_error(state.name);
    if (*known != state.session.restarts()) throw restarted_error(state.name);
    const bool is_suspected = state.is_suspected();
    if (state.channel != nullptr && !is_suspected && !state.channel->broken()) return state.channel;
    if (state.dialling == nullptr) {
      state.dialling =
          std::make_shared<Dialling>(Deadline::after(std::max(deadline.left(), kDialMin)));
      start(state_, state.dialling);
    }
    const std::shared_ptr<Dialling> dialling = state.dialling;
    while (!dialling->done && !state.closed && !deadline.passed()) {
      state.changed.wait_for(lock, std::min(deadline.left(), kInterruptSlice));
      if (!dialling->done) throw_if_interrupted(lock);
    }
    const std::optional<Error>& failure = dialling->failure;
    if (failure && !more_time_may_help(failure->code())) throw *failure;
    if (failure) earlier = failure;
    if ((dialling->done && !failure) || state.closed || !deadline.passed()) continue;
    if (is_suspected) return nullptr;
    if (failure) throw *failure;
    const bool is_unreached = earlier && earlier->code() == ErrorCode::kConnection;
    if (is_unreached && !dialling->progress.has_failed()) throw *earlier;
    dialling->progress.throw_out_of_time(format_endpoint(state.host, state.port),
                                         deadline.timeout());
  }
}

void NativeLine::suspect(const std::shared_ptr<Channel>& channel, Duration silent) {
  State& state = *state_;
  Lock lock(state.mutex);
  const Instant instant = now();
  if (state.closed || state.channel != channel || state.dialling != nullptr) return;
  if (!state.calm.is_over(instant) || channel->broken()) return;
  auto dialling = std::make_shared<Dialling>(Deadline::after(kDialMin));
  dialling->suspect = channel;
  dialling->suspected_at = instant;
  dialling->silent = silent;
  channel->probe();
  state.dialling = dialling;
  try {
    start(state_, dialling);
  } catch (const Error&) {
    // No thread is to be had: the connection stays as it is, and so does the caller's own error.
  }
}

// With the lock held. `dialling` is a copy: the state's own goes when no thread can be started.
void NativeLine::start(const std::shared_ptr<State>& state, std::shared_ptr<Dialling> dialling) {
  try {
    start_detached_thread([state, dialling] { run(state, dialling); });
  } catch (const std::exception& error) {
    state->dialling.reset();
    dialling->done = true;
    throw Error(ErrorCode::kConnection,
                "cannot connect to " + format_endpoint(state->host, state->port) +
                    ": cannot start a thread (" + error.what() +
                    "); raise the limit of processes (ulimit -u, or the container's)");
  }
}

void NativeLine::run(const std::shared_ptr<State>& shared,
                     const std::shared_ptr<Dialling>& dialling) {
  State& state = *shared;
  Channel* const suspect = dialling->suspect.get();
  auto lives = [&] { return suspect != nullptr && suspect->alive_since(dialling->suspected_at); };
  std::optional<ClientCore> core;
  std::unique_ptr<tls::Session> session;
  std::shared_ptr<Channel> fresh;
  std::optional<Error> failure;
  bool is_alive = false;
  try {
    UniqueFd fd = dial(
        state.host, state.port, dialling->deadline, [&] { return state.closed || lives(); },
        [&](Greeting& greeting) {
          core.emplace(state.session.id(), client_text(), asked_space(state.keeper.get()));
          if (!secure(greeting, state.keeper.get(), state.host) || !greet_native(greeting, *core))
            return false;
          session = greeting.take_session();
          return true;
        },
        dialling->progress);
    fresh = std::make_shared<Channel>(std::move(fd), std::move(*core), std::move(session));
    Deadline sign = Deadline::after(kSignOfLife);
    while (suspect != nullptr && !sign.passed() && !state.closed && !(is_alive = lives()))
      std::this_thread::sleep_for(std::min<Duration>(sign.left(), std::chrono::milliseconds(5)));
  } catch (const Error& error) {
    failure = error;
    is_alive = lives();
  } catch (const std::exception& error) {
    failure = Error(ErrorCode::kConnection, std::string("cannot connect: ") + error.what());
  }
  Lock lock(state.mutex);
  if (suspect != nullptr) {
    state.calm.begin(now(), is_alive);
    if (!is_alive && fresh != nullptr) suspect->shut_down(replaced_text(dialling->silent));
  }
  if (is_alive) {
    failure.reset();
  } else if (fresh != nullptr && !state.closed) {
    if (state.channel != nullptr) state.channel->leave(state.session);
    fresh->enter(state.session);
    state.channel = std::move(fresh);
  }
  dialling->failure = std::move(failure);
  dialling->done = true;
  state.dialling.reset();
  state.changed.notify_all();
}

}  // namespace rdzv
