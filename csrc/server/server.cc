#include "server/server.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "base/monotonic_condition.h"
#include "base/random.h"
#include "net/event_loop.h"
#include "net/listen.h"
#include "net/thread.h"
#include "server/core.h"
#include "server/entrance.h"
#include "server/socket_connection.h"

namespace rdzv {

class Server::Impl final : Timed {
 public:
  Impl(std::vector<Listener> listeners, std::string name, const ServerLimits& limits,
       bool of_one_job, const ServerSecurity& security);
  ~Impl() override;

  template <typename Look>
  auto ask(Look& look);

 private:
  Instant next() const override { return core_.next(); }
  Instant next_awake() const override { return core_.next_awake(); }
  void run_due(Instant until, Instant awake_until) override;

  void on_accepted(UniqueFd fd, const SocketAddress& peer);
  bool takes(int fd, const SocketAddress& peer);
  bool end_turn();
  void renew_quotas();
  std::string why_full(const SocketAddress& peer) const;
  void on_closed(int fd);
  bool counts_addresses() const {
    return core_.limits().connections_per_address < core_.limits().connections;
  }

  EventLoop loop_;
  ServerCore core_;
  SocketConnection::Shared shared_{loop_, core_, [this](int fd) { on_closed(fd); },
                                   Suspects(random_seed())};
  std::vector<std::unique_ptr<SocketConnection>> connections_;  // by descriptor
  BytesMap<size_t> by_address_{0, BytesHash{random_seed()}};    // while it matters
  std::optional<uint64_t> quotas_of_;  // which revision of the credentials they are of
  std::unique_ptr<Entrance> entrance_;
  std::thread thread_;
};

namespace {

native::Id128 random_instance() {
  native::Id128 instance{};
  fill_random(instance.data(), instance.size());
  return instance;
}

}  // namespace

Server::Impl::Impl(std::vector<Listener> listeners, std::string name, const ServerLimits& limits,
                   bool of_one_job, const ServerSecurity& security)
    : core_(limits, std::move(name), random_seed(), random_instance(), of_one_job) {
  shared_.security = security;
  renew_quotas();
  core_.measure_by(now);
  loop_.look_after(*this);
  loop_.set_end_of_turn([this] { return end_turn(); });
  entrance_ = std::make_unique<Entrance>(
      loop_, core_.name(), std::move(listeners),
      [this](UniqueFd fd, const SocketAddress& peer) { on_accepted(std::move(fd), peer); },
      [this](const SocketAddress& peer) { return why_full(peer); });
  thread_ = start_thread([this] { loop_.run(); });
}

Server::Impl::~Impl() {
  loop_.stop();
  thread_.join();
  auto connections = std::exchange(connections_, {});
  connections.clear();
}

// Waits until the loop's thread has looked.
template <typename Look>
auto Server::Impl::ask(Look& look) {
  using Found = std::invoke_result_t<Look&, ServerCommons&>;
  struct {
    std::mutex mutex;  // protects what follows
    bool is_done = false;
    Found found{};
    std::exception_ptr failure;
    MonotonicCondition done;
  } made;
  loop_.post([this, &look, &made] {
    std::lock_guard lock(made.mutex);
    try {
      made.found = core_.look(shared_.time(), look);
    } catch (...) {
      made.failure = std::current_exception();
    }
    made.is_done = true;
    made.done.notify_one();
  });
  std::unique_lock lock(made.mutex);
  while (!made.is_done) made.done.wait_for(lock, kForever);
  if (made.failure != nullptr) std::rethrow_exception(made.failure);
  return std::move(made.found);
}

void Server::Impl::run_due(Instant until, Instant awake_until) {
  if (next() <= until || next_awake() <= awake_until)
    core_.run_due({until, awake_until}, shared_.time());
}

// Who came by a way that this server does not take is let go, and nothing is kept of it.
bool Server::Impl::takes(int fd, const SocketAddress& peer) {
  std::string why;
  const ServerSecurity& security = shared_.security;
  if (security.keeper == nullptr && security.allowed != nullptr &&
      !security.takes_unproved(peer.host(), peer.is_loopback())) {
    why = "it is at none of the addresses that may connect";
  } else if (peer.is_unix()) {
    why = why_not_same_user(fd);
  }
  if (why.empty()) return true;
  core_.refuse(peer.to_string(), why, shared_.time());
  return false;
}

void Server::Impl::on_accepted(UniqueFd fd, const SocketAddress& peer) {
  if (!takes(fd.get(), peer)) return;
  auto index = static_cast<size_t>(fd.get());
  if (index >= connections_.size()) connections_.resize(index + 1);
  connections_[index] = std::make_unique<SocketConnection>(std::move(fd), peer, shared_);
  try {
    if (counts_addresses()) ++by_address_[peer.host()];
    connections_[index]->begin();
  } catch (const std::bad_alloc&) {
    connections_[index]->on_refused(ENOMEM);
  }
}

// They stand in the token file, which somebody may have changed.
void Server::Impl::renew_quotas() {
  const tls::Keeper* keeper = shared_.security.keeper.get();
  if (keeper == nullptr) return;
  if (core_.take_quota_missed()) keeper->look();
  const uint64_t revision = keeper->revision();
  if (quotas_of_ == revision) return;
  try {
    core_.set_quotas(keeper->held()->quotas());
    quotas_of_ = revision;
  } catch (const std::bad_alloc&) {
    // The next turn tries again.
  }
}

bool Server::Impl::end_turn() {
  renew_quotas();
  std::deque<int>& waiting = shared_.waiting;
  shared_.hellos_left = SocketConnection::Shared::kHellosATurn;
  // At most as many as stand there now: who still says nothing is not asked again.
  for (size_t left = waiting.size(); left > 0 && shared_.hellos_left > 0; --left) {
    const auto index = static_cast<size_t>(waiting.front());
    waiting.pop_front();
    // It may have gone by now, and another one have its descriptor.
    if (index < connections_.size() && connections_[index] != nullptr)
      connections_[index]->begin_late();
  }
  return core_.end_turn(shared_.time()) || !waiting.empty();
}

std::string Server::Impl::why_full(const SocketAddress& peer) const {
  const size_t open = core_.connections();
  const ServerLimits& limits = core_.limits();
  if (counts_addresses() && open < limits.connections) {
    const auto found = by_address_.find(peer.host());
    if (found == by_address_.end() || found->second < limits.connections_per_address) return {};
    return std::to_string(found->second) + " connections are open from " + peer.host() +
           "; the server's limit connections_per_address is " +
           std::to_string(limits.connections_per_address);
  }
  if (open < limits.connections) return {};
  return std::to_string(open) + " connections are open; the server's limit connections is " +
         std::to_string(core_.limits().connections);
}

void Server::Impl::on_closed(int fd) {
  if (connections_.empty()) return;  // the server is going, and its connections with it
  std::unique_ptr<SocketConnection>& closed = connections_[static_cast<size_t>(fd)];
  if (counts_addresses()) {
    const auto found = by_address_.find(closed->peer_host());
    // None: there was no memory to count it.
    if (found != by_address_.end() && --found->second == 0) by_address_.erase(found);
  }
  loop_.retire(std::move(closed));
}

Server::Server(const std::string& host, uint16_t port, const ServerLimits& limits, bool of_one_job,
               const ServerSecurity& security)
    // Nodes of a job that find the port taken are mostly clients of who has it, and begin together.
    : Server(host, listen_on(host, port, !of_one_job), limits, of_one_job, security) {}

Server::Server(const std::string& host, UniqueFd listening, const ServerLimits& limits,
               bool of_one_job, const ServerSecurity& security)
    : Server(host, adopt_listener(std::move(listening)), limits, of_one_job, security) {}

Server::Server(const std::string& host, std::vector<Listener> listeners, const ServerLimits& limits,
               bool of_one_job, const ServerSecurity& security)
    : host_(host), owner_pid_(::getpid()) {
  port_ = listeners.front().address.port();
  const bool is_exposed = !std::ranges::all_of(
      listeners, [](const Listener& each) { return each.address.is_loopback(); });
  check_closed(security, host, format_endpoint(host, port_), is_exposed);
  file_ = std::move(listeners.front().file);
  impl_ = std::make_unique<Impl>(std::move(listeners), "server " + format_endpoint(host, port_),
                                 limits, of_one_job, security);
}

template <typename Look>
auto Server::ask(Look look) {
  if (::getpid() != owner_pid_)
    throw Error(ErrorCode::kClosed, "report: this process was forked from the server's");
  return impl_->ask(look);
}

ServerReport Server::report(std::optional<uint64_t> after) {
  return ask([&](ServerCommons& commons) { return report_of(commons, after); });
}

std::optional<RunReport> Server::report_of_run(const RunQuestion& question) {
  return ask([&](ServerCommons& commons) { return rdzv::report_of_run(commons, question); });
}

std::vector<native::HostState> Server::host_states(const std::string& space,
                                                   const std::vector<std::string>& addresses) {
  return ask([&](ServerCommons& commons) { return host_states_of(commons, space, addresses); });
}

std::optional<std::string> Server::value(const std::string& space, const std::string& key) {
  return ask([&](ServerCommons& commons) { return value_of(commons, space, key); });
}

Server::~Server() {
  // A forked child has a copy of the loop but not its thread, and shares its epoll with the parent:
  // touch neither.
  if (::getpid() == owner_pid_) return;
  static_cast<void>(impl_.release());
  file_.let_go();
}

}  // namespace rdzv
