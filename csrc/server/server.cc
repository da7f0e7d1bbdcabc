#include "server/server.h"

#include <unistd.h>

#include <cerrno>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "net/listen.h"
#include "net/process_fd.h"
#include "net/socket.h"
#include "net/thread.h"
#include "server/connection.h"
#include "server/context.h"

namespace rdzv {

void ServerContext::wake() {
  // What is given back, because who was woken is going, wakes others.
  for (auto all = table.take_woken(); !all.empty(); all = table.take_woken()) {
    for (const Table::Woken& woken : all) static_cast<Session*>(woken.owner)->on_woken(woken);
  }
  set_expiry_timer();
}

void ServerContext::expire() {
  if (!expiry_timer || now() < expiry_timer->first) return;
  loop.cancel(*expiry_timer);
  expiry_timer.reset();
  table.expire(now());
  wake();
}

// A timer that is earlier than need be, because its key was set again, stays: it finds nothing to
// do, and is set anew.
void ServerContext::set_expiry_timer() {
  std::optional<Instant> next = table.next_expiry();
  if (!next || (expiry_timer && expiry_timer->first <= *next)) return;
  if (expiry_timer) loop.cancel(*expiry_timer);
  expiry_timer = loop.call_at(*next, [this] { expire(); });
}

class Server::Impl {
 public:
  Impl(std::vector<Listener> listeners, std::string name, const ServerLimits& limits);
  ~Impl();

 private:
  class Acceptor final : public EventHandler {
   public:
    Acceptor(Impl& server, UniqueFd fd) : server_(server), fd_(std::move(fd)) {}
    int fd() const { return fd_.get(); }
    void on_ready(bool, bool) override { server_.accept_all(*this); }

   private:
    Impl& server_;
    ProcessFd fd_;
  };

  void accept_all(Acceptor& acceptor);
  void refuse(const SocketAddress& peer);
  void pause_accepting(int error);
  void on_closed(int fd);
  bool flush_some();

  ServerContext context_;
  std::vector<Listener> listeners_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
  std::vector<std::unique_ptr<Connection>> connections_;  // by descriptor
  size_t connection_count_ = 0;
  Connection::OnClosed on_closed_ = [this](int fd) { on_closed(fd); };
  bool accepting_paused_ = false;
  bool refusing_ = false;    // there are as many as the limit says
  bool any_closed_ = false;  // in this turn
  std::thread thread_;
};

Server::Impl::Impl(std::vector<Listener> listeners, std::string name, const ServerLimits& limits)
    : context_(limits), listeners_(std::move(listeners)) {
  context_.name = std::move(name);
  fill_random(context_.instance.data(), context_.instance.size());
  context_.loop.set_end_of_turn([this] { return flush_some(); });
  for (Listener& listener : listeners_) {
    acceptors_.push_back(std::make_unique<Acceptor>(*this, std::move(listener.fd)));
    prepare_listener(acceptors_.back()->fd());
    // Urgent, because the kernel drops who finds the accept queue full, and a client that is
    // dropped tries again after a second.
    context_.loop.watch_urgent(acceptors_.back()->fd(), Interest::kRead, *acceptors_.back());
  }
  thread_ = start_thread([this] { context_.loop.run(); });
}

Server::Impl::~Impl() {
  context_.loop.stop();
  thread_.join();
  auto connections = std::exchange(connections_, {});
  connections.clear();
}

void Server::Impl::accept_all(Acceptor& acceptor) {
  // In batches, so that connected clients are served meanwhile; the listener stays readable for the
  // next turn.
  constexpr int kBatch = 1024;
  for (int i = 0; i < kBatch; ++i) {
    SocketAddress peer;
    UniqueFd fd = accept_from(acceptor.fd(), peer);
    if (!fd) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        pause_accepting(errno);
      return;
    }
    if (connection_count_ >= context_.limits.connections) {
      refuse(peer);
      continue;
    }
    auto index = static_cast<size_t>(fd.get());
    auto connection = std::make_unique<Connection>(std::move(fd), peer, context_, on_closed_);
    if (index >= connections_.size()) connections_.resize(index + 1);
    connections_[index] = std::move(connection);
    ++connection_count_;
  }
}

// One line an episode, which ends when a connection is closed.
void Server::Impl::refuse(const SocketAddress& peer) {
  if (std::exchange(refusing_, true)) return;
  log(LogLevel::kError, context_.name + ": refuses connections, the first from " +
                            peer.to_string() + ": " + std::to_string(connection_count_) +
                            " are open, and the limit connections is " +
                            std::to_string(context_.limits.connections));
}

// Without a free descriptor the listener would stay readable and the loop would spin.
void Server::Impl::pause_accepting(int error) {
  if (std::exchange(accepting_paused_, true)) return;
  constexpr Duration kPause = std::chrono::milliseconds(200);
  log(LogLevel::kError, context_.name + ": cannot accept more connections for now (" +
                            std::to_string(connection_count_) + " are open): " + errno_text(error));
  for (auto& acceptor : acceptors_) context_.loop.unwatch(*acceptor);
  context_.loop.call_at(now() + kPause, [this] {
    accepting_paused_ = false;
    for (auto& acceptor : acceptors_)
      context_.loop.watch(acceptor->fd(), Interest::kRead, *acceptor);
  });
}

void Server::Impl::on_closed(int fd) {
  if (connections_.empty()) return;  // the server is going, and its connections with it
  any_closed_ = true;
  refusing_ = false;
  --connection_count_;
  context_.loop.retire(std::move(connections_[static_cast<size_t>(fd)]));
}

// In batches too, for the accept queue's sake: one set may have answered thousands. True: there are
// more.
bool Server::Impl::flush_some() {
  constexpr size_t kBatch = 1024;
  std::vector<Connection*>& unsent = context_.unsent;
  // By index: flushing can let a stalled connection go on, which may have more to send.
  size_t flushed = 0;
  for (; flushed < unsent.size() && flushed < kBatch; ++flushed) unsent[flushed]->flush();
  unsent.erase(unsent.begin(), unsent.begin() + static_cast<std::ptrdiff_t>(flushed));
  // What is closed does not live into the next turn.
  if (std::exchange(any_closed_, false))
    std::erase_if(unsent, [](const Connection* connection) { return connection->closed(); });
  context_.exchange_view.trim();
  return !unsent.empty();
}

Server::Server(const std::string& host, uint16_t port, const ServerLimits& limits)
    : Server(host, listen_on(host, port), limits) {}

Server::Server(const std::string& host, UniqueFd listening, const ServerLimits& limits)
    : Server(host, adopt_listener(std::move(listening)), limits) {}

Server::Server(const std::string& host, std::vector<Listener> listeners, const ServerLimits& limits)
    : host_(host), owner_pid_(::getpid()) {
  port_ = listeners.front().address.port();
  impl_ = std::make_unique<Impl>(std::move(listeners), "server " + format_endpoint(host, port_),
                                 limits);
}

Server::~Server() {
  // A forked child has a copy of the loop but not its thread, and shares its epoll with the parent:
  // touch neither.
  if (::getpid() != owner_pid_) static_cast<void>(impl_.release());
}

}  // namespace rdzv
