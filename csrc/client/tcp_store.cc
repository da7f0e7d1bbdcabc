#include "client/tcp_store.h"

#include <algorithm>
#include <map>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "client/c10d_store.h"
#include "client/native_store.h"
#include "net/address.h"

namespace rdzv {
namespace {

constexpr Bytes kWorkersKey = "init/";

std::shared_ptr<Server> make_server(const TCPStore::Options& options) {
  if (!options.listen_fd) return std::make_shared<Server>(options.host, options.port);
  uint16_t port = SocketAddress::local_of(*options.listen_fd).port();
  if (options.port != 0 && port != options.port) {
    throw Error(ErrorCode::kInvalidArgument,
                "TCPStore: master_listen_fd " + std::to_string(*options.listen_fd) +
                    " is bound to port " + std::to_string(port) + ", but port is " +
                    std::to_string(options.port) + "; give that port, or 0");
  }
  return std::make_shared<Server>(options.host, UniqueFd(*options.listen_fd));
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

std::shared_ptr<RemoteStore> make_remote(TCPStore::Protocol protocol, const std::string& host,
                                         uint16_t port, Duration timeout) {
  if (protocol == TCPStore::Protocol::kC10d) {
    return std::make_shared<C10dStore>(host, port, timeout);
  }
  return std::make_shared<NativeStore>(host, port, timeout);
}

}  // namespace

TCPStore::TCPStore(const Options& options)
    : host_(options.host), port_(options.port), protocol_(options.protocol) {
  if (options.is_master) {
    serve(options);
  } else if (options.listen_fd) {
    throw Error(ErrorCode::kInvalidArgument,
                "TCPStore: master_listen_fd is for the master, which serves on it; pass "
                "is_master=True, or no descriptor");
  } else if (port_ == 0) {
    throw Error(ErrorCode::kInvalidArgument,
                "TCPStore: port 0 is for the master, which picks a free port; give a client "
                "the port that the master has");
  }
  const Deadline deadline = Deadline::after(options.timeout);
  remote_ = make_remote(options.protocol, host_to_connect_to(host_, options.is_master), port_,
                        options.timeout);
  remote_->connect(deadline);
  if (options.wait_for_workers && options.world_size.value_or(0) > 0) {
    int64_t count = remote_->add_wire_key(kWorkersKey, kWorkersKey, 1, deadline.left());
    if (server_ != nullptr && count < *options.world_size)
      wait_for_workers(*options.world_size, deadline);
  }
}

void TCPStore::serve(const Options& options) {
  try {
    server_ = options.multi_tenant ? share_server(options) : make_server(options);
    port_ = server_->port();
  } catch (const Error&) {
    if (!options.may_be_served) throw;
  }
}

TCPStore::TCPStore(std::string host, uint16_t port, Protocol protocol,
                   std::shared_ptr<RemoteStore> remote)
    : host_(std::move(host)), port_(port), protocol_(protocol), remote_(std::move(remote)) {}

TCPStore::~TCPStore() = default;

std::shared_ptr<Store> TCPStore::clone(Duration timeout) {
  auto remote = std::static_pointer_cast<RemoteStore>(remote_->clone(timeout));
  return std::shared_ptr<TCPStore>(new TCPStore(host_, port_, protocol_, std::move(remote)));
}

std::shared_ptr<NativeStore> TCPStore::native_sibling() const {
  if (protocol_ != Protocol::kNative) {
    throw Error(ErrorCode::kUnsupported,
                describe() + " speaks the c10d protocol, which knows no runs");
  }
  return std::static_pointer_cast<NativeStore>(remote_->sibling());
}

void TCPStore::wait_for_workers(int64_t world_size, const Deadline& deadline) {
  constexpr Duration kLongestPause = std::chrono::milliseconds(20);
  for (Duration pause = std::chrono::milliseconds(1);; pause = std::min(2 * pause, kLongestPause)) {
    int64_t count = remote_->add_wire_key(kWorkersKey, kWorkersKey, 0, deadline.left());
    if (count >= world_size) return;
    if (deadline.passed()) {
      throw Error(ErrorCode::kTimeout,
                  describe() + ": timeout: " + std::to_string(count) + " of " +
                      std::to_string(world_size) + " workers connected within " +
                      seconds_text(deadline.timeout()) +
                      "; check the others' logs, or pass wait_for_workers=False");
    }
    std::this_thread::sleep_for(std::min(pause, deadline.left()));
    throw_if_interrupted();
  }
}

void TCPStore::close() {
  remote_->close();
  // Let go of without the lock: the server's end waits for its thread.
  std::shared_ptr<Server> server;
  Lock lock(mutex_);
  server.swap(server_);
}

}  // namespace rdzv
