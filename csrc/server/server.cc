#include "server/server.h"

#include <unistd.h>

#include <cerrno>
#include <new>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "net/listen.h"
#include "net/thread.h"
#include "server/connection.h"
#include "server/context.h"
#include "server/entrance.h"

namespace rdzv {

class Server::Impl {
 public:
  Impl(std::vector<Listener> listeners, std::string name, const ServerLimits& limits);
  ~Impl();

 private:
  void on_accepted(UniqueFd fd, const SocketAddress& peer);
  std::string why_full() const;
  void on_closed(int fd);
  bool end_turn();
  bool flush_some();

  ServerContext context_;
  std::vector<std::unique_ptr<Connection>> connections_;  // by descriptor
  Connection::OnClosed on_closed_ = [this](int fd) { on_closed(fd); };
  bool any_closed_ = false;  // in this turn
  std::unique_ptr<Entrance> entrance_;
  std::thread thread_;
};

Server::Impl::Impl(std::vector<Listener> listeners, std::string name, const ServerLimits& limits)
    : context_(limits) {
  context_.name = std::move(name);
  fill_random(context_.instance.data(), context_.instance.size());
  context_.loop.set_end_of_turn([this] { return end_turn(); });
  entrance_ = std::make_unique<Entrance>(
      context_.loop, context_.name, std::move(listeners),
      [this](UniqueFd fd, const SocketAddress& peer) { on_accepted(std::move(fd), peer); },
      [this] { return why_full(); });
  thread_ = start_thread([this] { context_.loop.run(); });
}

Server::Impl::~Impl() {
  context_.loop.stop();
  thread_.join();
  auto connections = std::exchange(connections_, {});
  connections.clear();
}

void Server::Impl::on_accepted(UniqueFd fd, const SocketAddress& peer) {
  auto index = static_cast<size_t>(fd.get());
  if (index >= connections_.size()) connections_.resize(index + 1);
  connections_[index] = std::make_unique<Connection>(std::move(fd), peer, context_, on_closed_);
  try {
    connections_[index]->begin();
  } catch (const std::bad_alloc&) {
    connections_[index]->on_refused(ENOMEM);
  }
}

std::string Server::Impl::why_full() const {
  if (context_.open.size() < context_.limits.connections) return {};
  return std::to_string(context_.open.size()) +
         " connections are open, and the limit connections is " +
         std::to_string(context_.limits.connections);
}

void Server::Impl::on_closed(int fd) {
  if (connections_.empty()) return;  // the server is going, and its connections with it
  any_closed_ = true;
  context_.departures.add(std::move(connections_[static_cast<size_t>(fd)]));
}

// True: there is more to do.
bool Server::Impl::end_turn() {
  bool more = context_.end_turn();
  more = flush_some() || more;
  // What is closed does not live into the next turn.
  if (std::exchange(any_closed_, false)) {
    auto is_closed = [](const Connection* connection) { return connection->closed(); };
    std::erase_if(context_.unsent, is_closed);
    std::erase_if(context_.put_off, is_closed);
    std::erase_if(context_.unserved, is_closed);
  }
  context_.answers.trim();
  context_.exchanges.trim();
  return more;
}

// In batches too, for the accept queue's sake: one set may have answered thousands.
bool Server::Impl::flush_some() {
  constexpr size_t kBatch = 256;
  std::vector<Connection*>& unsent = context_.unsent;
  // By index: flushing can let a stalled connection go on, which may have more to send.
  size_t flushed = 0;
  for (; flushed < unsent.size() && flushed < kBatch; ++flushed) {
    Connection* connection = unsent[flushed];
    connection->guarded([connection] { connection->flush(); });
  }
  unsent.erase(unsent.begin(), unsent.begin() + static_cast<std::ptrdiff_t>(flushed));
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
