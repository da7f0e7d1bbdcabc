// The swarm's connections while they are being made.
#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <random>

#include "base/error.h"
#include "net/socket.h"
#include "tools/swarm.h"

namespace rdzv::tools {
namespace {

constexpr uint16_t kSourcePortMin = 10'000;
constexpr size_t kSourcePorts = 55'000;
// Some of an address's ports are taken by others.
constexpr size_t kConnectionsAnAddress = 50'000;
// More failed dials than this are no bad luck.
constexpr uint64_t kRedialsMax = 1'000;

sockaddr_in address_of(const std::string& host, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1)
    throw Error(ErrorCode::kInvalidArgument,
                "--host takes a numeric IPv4 address, not '" + host + "'");
  return address;
}

// Whose connection it is to be, in host order: 127.0.PROCESS.1 and, beyond the ports of one
// address, those after it. So no two processes of the driver want the same port. One process with
// less stays at 127.0.0.1: other addresses would make a server that looks up its clients' names ask
// the name server.
in_addr_t source_of(size_t process, size_t connection) {
  return static_cast<in_addr_t>(INADDR_LOOPBACK + (process << 8) +
                                connection / kConnectionsAnAddress);
}

// Ports are chosen here, one after the other from a random one: the kernel's own search becomes
// slow beyond a few thousand. False when the port is taken.
bool bind_source(int fd, in_addr_t address, uint16_t port) {
  int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_in source{};
  source.sin_family = AF_INET;
  source.sin_port = htons(port);
  source.sin_addr.s_addr = htonl(address);
  return ::bind(fd, reinterpret_cast<const sockaddr*>(&source), sizeof(source)) == 0;
}

}  // namespace

void Swarm::prepare_dials() {
  address_ = address_of(options_.host, options_.port);
  source_port_ = static_cast<uint16_t>(std::random_device{}() % kSourcePorts);
}

void Swarm::dial_some() {
  while (dials_begun_ < dials_wanted_ && dialing_ < options_.dials_at_once) {
    Connection& connection = connections_[dials_begun_++];
    connection.dialed = now();
    if (!dial(connection)) fail("connect: " + errno_text(errno));
  }
}

UniqueFd Swarm::begin_connect(const Connection& connection) {
  bool is_loopback = (ntohl(address_.sin_addr.s_addr) >> 24) == 127;
  size_t tries = is_loopback ? kSourcePorts : 1;
  for (size_t i = 0; i < tries; ++i) {
    UniqueFd fd = open_socket(AF_INET);
    set_no_delay(fd.get());
    if (is_loopback) {
      source_port_ = static_cast<uint16_t>((source_port_ + 1) % kSourcePorts);
      auto port = static_cast<uint16_t>(kSourcePortMin + source_port_);
      if (!bind_source(fd.get(), source_of(part_.index(), connection.index), port)) continue;
    }
    const auto* address = reinterpret_cast<const sockaddr*>(&address_);
    if (::connect(fd.get(), address, sizeof(address_)) == 0 || errno == EINPROGRESS) return fd;
    // That port has been used a moment ago.
    if (errno != EADDRNOTAVAIL && errno != EADDRINUSE) return UniqueFd();
  }
  return UniqueFd();
}

bool Swarm::dial(Connection& connection) {
  connection.fd = begin_connect(connection);
  if (!connection.fd) return false;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT;
  event.data.u32 = connection.index;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, connection.fd.get(), &event);
  connection.wants_write = true;
  connection.is_dialing = true;
  ++dialing_;
  return true;
}

void Swarm::finish_dial(Connection& connection) {
  int error = 0;
  socklen_t size = sizeof(error);
  ::getsockopt(connection.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    --dialing_;
    connection.fd.reset();
    ++redials_;
    // A full accept queue refuses nobody: this is a server that is not there.
    bool is_hopeless = error == ECONNREFUSED || redials_ > kRedialsMax;
    if (is_hopeless || !dial(connection)) fail("connect: " + errno_text(error));
    return;
  }
  if (credentials_ != nullptr) connection.secure = credentials_->begin();
  protocol_.put_hello(connection.out, static_cast<uint32_t>(part_.first() + connection.index));
  connection.asked.push({Ask::kHello, turn_began_});
  flush(connection);
}

}  // namespace rdzv::tools
