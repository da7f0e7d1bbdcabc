#include "client/tcp_store.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "client/c10d_store.h"
#include "client/line_rules.h"
#include "client/native_store.h"
#include "client/patience.h"
#include "net/address.h"
#include "net/unix_socket.h"

namespace rdzv {
namespace {

constexpr Bytes kWorkersKey = "init/";

std::shared_ptr<Server> make_server(const TCPStore::Options& options) {
  if (!options.listen_fd) {
    return std::make_shared<Server>(options.host, options.port, ServerLimits{}, false,
                                    options.security);
  }
  uint16_t port = SocketAddress::local_of(*options.listen_fd).port();
  if (options.port != 0 && port != options.port) {
    throw Error(ErrorCode::kInvalidArgument,
                "TCPStore: master_listen_fd " + std::to_string(*options.listen_fd) +
                    " is bound to port " + std::to_string(port) + ", but port is " +
                    std::to_string(options.port) + "; pass that port, or 0");
  }
  return std::make_shared<Server>(options.host, UniqueFd(*options.listen_fd), ServerLimits{}, false,
                                  options.security);
}

// multi_tenant: one server a port and process, shared by those who ask for it.
std::shared_ptr<Server> share_server(const TCPStore::Options& options) {
  static Mutex mutex;
  static std::map<uint16_t, std::weak_ptr<Server>> servers;
  auto find = [&]() -> std::shared_ptr<Server> {
    Lock lock(mutex);
    return options.port == 0 ? nullptr : servers[options.port].lock();
  };
  // Made without the lock: looking up a name takes time, and runs signal handlers. So another
  // thread may be the first, and takes a moment to say so.
  constexpr Duration kOthersMoment = std::chrono::milliseconds(100);
  for (std::optional<Deadline> moment;;) {
    if (std::shared_ptr<Server> server = find()) return server;
    try {
      std::shared_ptr<Server> server = make_server(options);
      Lock lock(mutex);
      servers[server->port()] = server;
      return server;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kAddressInUse) throw;
      if (!moment) moment = Deadline::after(kOthersMoment);
      if (moment->passed()) throw;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

std::string host_to_connect_to(const std::string& host, bool is_master) {
  if (is_master && host == "0.0.0.0") return "127.0.0.1";
  if (is_master && (host == "::" || host == "[::]")) return "::1";
  return host;
}

// None: somebody else may serve there.
std::shared_ptr<Server> serve(const TCPStore::Options& options) {
  try {
    return options.multi_tenant ? share_server(options) : make_server(options);
  } catch (const Error& error) {
    if (!options.may_be_served || error.code() == ErrorCode::kRefused) throw;
    return nullptr;
  }
}

}  // namespace

TCPStore::TCPStore(Protocol protocol, Place server_at, Duration timeout)
    : protocol_(protocol), server_at_(std::move(server_at)), owner_pid_(::getpid()) {
  set_timeout(timeout);
}

TCPStore::~TCPStore() = default;

std::shared_ptr<TCPStore> TCPStore::make(Protocol protocol, const Place& server_at,
                                         Duration timeout) {
  if (protocol == Protocol::kC10d) return std::make_shared<C10dStore>(server_at, timeout);
  return std::make_shared<NativeStore>(server_at, timeout);
}

std::shared_ptr<TCPStore> TCPStore::open(const Options& options) {
  std::shared_ptr<Server> server;
  if (options.is_master) {
    server = serve(options);
  } else if (options.listen_fd) {
    throw Error(
        ErrorCode::kInvalidArgument,
        "TCPStore: master_listen_fd is only for the master; pass is_master=True, or no descriptor");
  } else if (options.port == 0 && !is_unix_host(options.host)) {
    throw Error(
        ErrorCode::kInvalidArgument,
        "TCPStore: port 0 is only for the master, which picks a free port; pass the master's port");
  }
  if (options.keeper != nullptr && options.protocol == Protocol::kC10d) {
    throw Error(ErrorCode::kInvalidArgument,
                "TCPStore: the c10d protocol carries no token; use protocol='native'");
  }
  const Deadline deadline = Deadline::after(options.timeout);
  const std::shared_ptr<TCPStore> store =
      make(options.protocol,
           {options.host, host_to_connect_to(options.host, options.is_master),
            server != nullptr ? server->port() : options.port, options.keeper},
           options.timeout);
  store->server_ = std::move(server);
  store->connect(deadline);
  if (options.wait_for_workers && options.world_size.value_or(0) > 0) {
    int64_t count = store->add_wire_key(kWorkersKey, kWorkersKey, 1, deadline.left());
    if (store->server_ != nullptr && count < *options.world_size)
      store->wait_for_workers(*options.world_size, deadline);
  }
  return store;
}

std::string TCPStore::describe() const {
  return "TCPStore " + format_endpoint(server_at_.host_to_connect, server_at_.port);
}

std::shared_ptr<Store> TCPStore::clone(Duration timeout) {
  if (is_closed()) throw_closed();
  check_process();
  const std::shared_ptr<TCPStore> store = make(protocol_, server_at_, this->timeout());
  store->connect(Deadline::after(timeout));
  return store;
}

std::shared_ptr<NativeStore> TCPStore::native_sibling() const {
  if (protocol_ != Protocol::kNative) {
    throw Error(ErrorCode::kUnsupported,
                describe() + " speaks the c10d protocol, which has no runs");
  }
  return std::make_shared<NativeStore>(server_at_, timeout());
}

std::string TCPStore::about(const char* operation, Bytes key, const std::vector<Bytes>* keys,
                            const char* key_is) const {
  return about_call(operation, key, keys, key_is, describe());
}

bool TCPStore::is_own_process() const {
  return ::getpid() == owner_pid_;
}

void TCPStore::check_process() const {
  if (is_own_process()) return;
  throw other_process_error(describe(), owner_pid_);
}

void TCPStore::throw_closed() const {
  throw closed_error(describe());
}

void TCPStore::wait_for_workers(int64_t world_size, const Deadline& deadline) {
  constexpr Duration kLongestPause = std::chrono::milliseconds(20);
  for (Duration pause = std::chrono::milliseconds(1);; pause = std::min(2 * pause, kLongestPause)) {
    int64_t count = add_wire_key(kWorkersKey, kWorkersKey, 0, deadline.left());
    if (count >= world_size) return;
    if (deadline.passed()) {
      throw Error(ErrorCode::kTimeout,
                  describe() + ": timeout: " + std::to_string(count) + " of " +
                      std::to_string(world_size) + " workers connected within " +
                      seconds_text(deadline.timeout()) +
                      "; check the other workers' logs, or pass wait_for_workers=False");
    }
    std::this_thread::sleep_for(std::min(pause, deadline.left()));
    throw_if_interrupted();
  }
}

void TCPStore::close() {
  disconnect();
  // Let go of without the lock: the server's end waits for its thread.
  std::shared_ptr<Server> server;
  Lock lock(mutex_);
  server.swap(server_);
}

}  // namespace rdzv
