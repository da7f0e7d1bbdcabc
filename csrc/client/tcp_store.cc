#include "client/tcp_store.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/random.h"
#include "base/text.h"
#include "client/connector.h"
#include "client/request.h"
#include "net/address.h"

namespace rdzv {
namespace {

using native::Operation;

// The server keeps a blocking request's deadline; its answer, which says what was missing, gets
// this long to arrive. Others get it too, so that a timeout of zero is a "now" that can succeed.
constexpr Duration kAnswerGrace = std::chrono::milliseconds(90);

// How long a call that waits for nobody may take to get a lost connection back; one that waits may
// use all its time.
constexpr Duration kReconnectMax = std::chrono::seconds(10);

// multi_tenant: one server a port and process, shared by those who ask for it.
std::shared_ptr<Server> share_server(const std::string& host, uint16_t port) {
  static std::mutex mutex;
  static std::map<uint16_t, std::weak_ptr<Server>> servers;
  std::lock_guard lock(mutex);
  if (port != 0) {
    if (std::shared_ptr<Server> server = servers[port].lock()) return server;
  }
  auto server = std::make_shared<Server>(host, port);
  servers[server->port()] = server;
  return server;
}

std::string host_to_connect_to(const std::string& host, bool is_master) {
  if (is_master && host == "0.0.0.0") return "127.0.0.1";
  if (is_master && (host == "::" || host == "[::]")) return "::1";
  return host;
}

uint32_t milliseconds_up(Duration duration) {
  auto ms = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
  return static_cast<uint32_t>(std::min<int64_t>(ms, native::kNoTimeout));
}

}  // namespace

TCPStore::TCPStore(const Options& options)
    : host_(options.host),
      connect_host_(host_to_connect_to(options.host, options.is_master)),
      port_(options.port),
      owner_pid_(::getpid()) {
  Store::set_timeout(options.timeout);
  fill_random(session_.data(), session_.size());
  if (options.is_master) {
    server_ =
        options.multi_tenant ? share_server(host_, port_) : std::make_shared<Server>(host_, port_);
    port_ = server_->port();
  } else if (port_ == 0) {
    throw Error(ErrorCode::kInvalidArgument,
                "TCPStore: port 0 is for the master, which picks a free port; give a client "
                "the port that the master has");
  }
  channel(Deadline::after(options.timeout));
  if (options.wait_for_workers && options.world_size.value_or(0) > 0) {
    int64_t count = add_wire_key("init/", "init/", 1);
    if (options.is_master && count < *options.world_size) wait_for_workers(*options.world_size);
  }
}

TCPStore::~TCPStore() = default;

void TCPStore::wait_for_workers(int64_t world_size) {
  constexpr Duration kLongestPause = std::chrono::milliseconds(20);
  Deadline deadline = Deadline::after(timeout());
  for (Duration pause = std::chrono::milliseconds(1);; pause = std::min(2 * pause, kLongestPause)) {
    int64_t count = add_wire_key("init/", "init/", 0);
    if (count >= world_size) return;
    if (deadline.passed()) {
      throw Error(ErrorCode::kTimeout,
                  describe() + ": " + std::to_string(count) + " of " + std::to_string(world_size) +
                      " workers connected within " + seconds_text(deadline.timeout()) +
                      "; check the others' logs, or pass wait_for_workers=False");
    }
    std::this_thread::sleep_for(std::min(pause, deadline.left()));
    throw_if_interrupted();
  }
}

std::string TCPStore::describe() const {
  return "TCPStore " + format_endpoint(connect_host_, port_);
}

std::string TCPStore::observed_address() {
  std::lock_guard lock(mutex_);
  return observed_address_;
}

std::shared_ptr<Store> TCPStore::clone() {
  check_process();
  Options options;
  options.host = connect_host_;
  options.port = port_;
  options.timeout = timeout();
  return std::make_shared<TCPStore>(options);
}

void TCPStore::close() {
  std::shared_ptr<Channel> channel;
  std::shared_ptr<Server> server;
  std::lock_guard lock(mutex_);
  closed_ = true;
  channel.swap(channel_);
  server.swap(server_);
  // A forked child shares the connection with its parent, and only lets go of it.
  if (channel != nullptr && ::getpid() == owner_pid_) channel->shut_down();
}

void TCPStore::check_process() const {
  if (::getpid() == owner_pid_) return;
  throw Error(ErrorCode::kClosed,
              describe() + " was made by process " + std::to_string(owner_pid_) +
                  " and cannot be used in its forked child; make a new store there");
}

std::shared_ptr<Channel> TCPStore::channel(const Deadline& deadline) {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (closed_) throw Error(ErrorCode::kClosed, describe() + " was closed; make a new store");
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
  connect(lock, deadline);
  return channel_;
}

// Lets go of the lock while it connects.
void TCPStore::connect(std::unique_lock<std::mutex>& lock, const Deadline& deadline) {
  connecting_ = true;
  lock.unlock();
  std::optional<Greeted> greeted;
  std::exception_ptr failure;
  try {
    greeted = connect_and_greet(connect_host_, port_, session_, deadline, closed_);
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  connecting_ = false;
  connected_.notify_all();
  if (closed_) throw Error(ErrorCode::kClosed, describe() + " was closed; make a new store");
  if (failure != nullptr) std::rethrow_exception(failure);
  channel_ = std::make_shared<Channel>(std::move(greeted->fd));
  observed_address_ = greeted->observed_address;
  bool restarted = instance_.has_value() && *instance_ != greeted->instance;
  instance_ = greeted->instance;
  if (restarted) {
    throw Error(ErrorCode::kRestarted,
                describe() +
                    ": the server was restarted and no longer has the data it had; this "
                    "is said once, the next call uses the new server");
  }
}

uint32_t TCPStore::time_for_server(const Request& request, const Deadline& deadline) {
  if (!request.server_may_wait) return 0;
  return request.timeout >= kForever ? native::kNoTimeout : milliseconds_up(deadline.left());
}

std::string TCPStore::run(Request& request) {
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
      if (reply.status == ErrorCode::kOk) return std::move(reply.body);
      request.answered = true;
      ByteReader reader(reply.body);
      std::string message(native::take_string(reader, reply.body.size()));
      throw Error(reply.status, message + " (" + describe() + ")");
    }
    throw_unless_repeatable(request, reply, *channel);
  }
}

// A request that failed on a broken connection is sent again if that cannot apply it twice.
void TCPStore::throw_unless_repeatable(const Request& request, const Channel::Reply& reply,
                                       Channel& channel) const {
  std::string outcome = !request.is_write ? ""
                        : reply.sent      ? "; it may or may not have been applied"
                                          : "; it was not sent";
  if (reply.failure == Channel::Failure::kTimedOut) {
    throw Error(ErrorCode::kTimeout,
                request.describe(*this) + ": no answer within " + seconds_text(request.timeout) +
                    "; the server is stopped, overloaded or unreachable" + outcome);
  }
  if (request.is_write && reply.sent) {
    throw Error(ErrorCode::kConnection, request.describe(*this) + ": the connection was lost (" +
                                            channel.broken_text() + ")" + outcome);
  }
}

}  // namespace rdzv
