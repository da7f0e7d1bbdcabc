#include "net/address.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/mutex.h"
#include "net/thread.h"
#include "net/unix_socket.h"

namespace rdzv {

SocketAddress::SocketAddress(const sockaddr* address, socklen_t length)
    : length_(std::min<socklen_t>(length, sizeof(address_))) {
  std::memcpy(&address_, address, length_);
}

SocketAddress SocketAddress::local_of(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length);
  return {reinterpret_cast<sockaddr*>(&storage), length};
}

SocketAddress SocketAddress::peer_of(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  ::getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length);
  return {reinterpret_cast<sockaddr*>(&storage), length};
}

uint16_t SocketAddress::port() const {
  if (is_unix()) return 0;
  return ntohs(family() == AF_INET6 ? address_.v6.sin6_port : address_.v4.sin_port);
}

void SocketAddress::set_port(uint16_t port) {
  (family() == AF_INET6 ? address_.v6.sin6_port : address_.v4.sin_port) = htons(port);
}

bool SocketAddress::is_loopback() const {
  if (is_unix()) return true;
  constexpr uint8_t kLoopbackNet = 127;
  if (family() == AF_INET) return ntohl(address_.v4.sin_addr.s_addr) >> 24 == kLoopbackNet;
  if (family() != AF_INET6) return false;
  const in6_addr& v6 = address_.v6.sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&v6)) return v6.s6_addr[12] == kLoopbackNet;
  return IN6_IS_ADDR_LOOPBACK(&v6);
}

std::string SocketAddress::host() const {
  if (is_unix()) return "localhost";
  char text[NI_MAXHOST];
  if (::getnameinfo(get(), length_, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) != 0)
    return "?";
  constexpr char kMapped[] = "::ffff:";
  constexpr size_t kMappedSize = sizeof(kMapped) - 1;
  std::string host(text);
  if (host.compare(0, kMappedSize, kMapped) == 0 && host.find('.') != std::string::npos) {
    host.erase(0, kMappedSize);
  }
  return host;
}

std::string SocketAddress::network() const {
  if (family() != AF_INET6 || IN6_IS_ADDR_V4MAPPED(&address_.v6.sin6_addr)) return host();
  constexpr size_t kHalf = sizeof(in6_addr) / 2;
  SocketAddress half = *this;
  std::memset(half.address_.v6.sin6_addr.s6_addr + kHalf, 0, kHalf);
  return half.host() + "/64";
}

std::string SocketAddress::to_string() const {
  if (is_unix()) return "the Unix socket";
  return format_endpoint(host(), port());
}

std::string format_endpoint(const std::string& host, uint16_t port) {
  if (is_unix_host(host)) return host;
  bool v6 = host.find(':') != std::string::npos && host.front() != '[';
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

namespace {

struct AddressListDeleter {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using AddressList = std::unique_ptr<addrinfo, AddressListDeleter>;

struct Lookup {
  Mutex mutex;
  Condition finished;
  bool done = false;
  int result = 0;
  int error = 0;  // errno, where the result is EAI_SYSTEM
  AddressList list;
};

int look_up(const std::string& host, int flags, AddressList& list) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  int result = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  list.reset(found);
  return result;
}

// What is an IPv4 address in the form of IPv6 can be bound and reached as IPv4 alone.
SocketAddress unmapped(const SocketAddress& address) {
  if (address.family() != AF_INET6) return address;
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address.get());
  if (!IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) return address;
  constexpr size_t kPrefixBytes = 12;
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = v6->sin6_port;
  std::memcpy(&v4.sin_addr, v6->sin6_addr.s6_addr + kPrefixBytes, sizeof(v4.sin_addr));
  return SocketAddress(reinterpret_cast<const sockaddr*>(&v4), sizeof(v4));
}

std::vector<SocketAddress> with_port(const addrinfo* list, uint16_t port) {
  std::vector<SocketAddress> addresses;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_family != AF_INET && entry->ai_family != AF_INET6) continue;
    SocketAddress address =
        unmapped(SocketAddress(entry->ai_addr, static_cast<socklen_t>(entry->ai_addrlen)));
    address.set_port(port);
    // A hosts file may name one address several times.
    auto same = [&](const SocketAddress& other) {
      return other.to_string() == address.to_string();
    };
    if (std::none_of(addresses.begin(), addresses.end(), same)) addresses.push_back(address);
  }
  return addresses;
}

std::string bare(const std::string& host) {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    return host.substr(1, host.size() - 2);
  return host;
}

}  // namespace

std::vector<SocketAddress> resolve(const std::string& host, uint16_t port,
                                   const Deadline& deadline) {
  std::string name = bare(host);
  if (name.empty() || name.find('\0') != std::string::npos || name.size() > 253) {
    throw Error(ErrorCode::kInvalidArgument,
                "host '" + host + "' is neither a host name nor an IP address");
  }
  AddressList numeric;
  if (look_up(name, AI_NUMERICHOST, numeric) == 0) return with_port(numeric.get(), port);

  auto lookup = std::make_shared<Lookup>();
  start_detached_thread([lookup, name] {
    AddressList list;
    int result = look_up(name, 0, list);
    int error = errno;
    Lock lock(lookup->mutex);
    lookup->result = result;
    lookup->error = error;
    lookup->list = std::move(list);
    lookup->done = true;
    lookup->finished.notify_one();
  });
  Lock lock(lookup->mutex);
  while (!lookup->done) {
    if (deadline.passed()) {
      throw Error(ErrorCode::kNoAnswer,
                  "timeout: the name server gave no address for '" + name +
                      "' in time; use an IP address, or check /etc/resolv.conf");
    }
    lookup->finished.wait_for(lock, std::min(deadline.left(), kInterruptSlice));
    throw_if_interrupted(lock);
  }
  std::vector<SocketAddress> addresses = with_port(lookup->list.get(), port);
  if (lookup->result != 0 || addresses.empty()) {
    throw Error(ErrorCode::kConnection,
                lookup->result == EAI_SYSTEM
                    ? "cannot look up host '" + name + "': " + refusal_text(lookup->error)
                    : "host '" + name + "' has no address: " + ::gai_strerror(lookup->result));
  }
  return addresses;
}

}  // namespace rdzv
