// Addresses and connecting.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <chrono>
#include <string>
#include <vector>

#include "base/error.h"
#include "net/address.h"
#include "net/listen.h"
#include "net/socket.h"
#include "support.h"

using namespace rdzv;
using rdzv::test::kHang;

namespace {

std::vector<SocketAddress> resolved(const std::string& host) {
  return resolve(host, 29400, Deadline::after(kHang));
}

}  // namespace

TEST_CASE("numeric hosts are addresses, with or without brackets") {
  CHECK(resolved("127.0.0.1").front().to_string() == "127.0.0.1:29400");
  CHECK(resolved("::1").front().to_string() == "[::1]:29400");
  CHECK(resolved("[::1]").front().to_string() == "[::1]:29400");
  CHECK(resolved("::ffff:10.0.0.1").front().host() == "10.0.0.1");
}

TEST_CASE("an endpoint is shown as it would be typed") {
  CHECK(format_endpoint("host", 1) == "host:1");
  CHECK(format_endpoint("::1", 1) == "[::1]:1");
  CHECK(format_endpoint("[::1]", 1) == "[::1]:1");
}

TEST_CASE("an accepted connection has its peer's address and the options of all connections") {
  Listener listener = std::move(listen_on("127.0.0.1", 0).front());
  prepare_listener(listener.fd.get());
  int error = 0;
  UniqueFd client = connect_to(listener.address, kHang, error);
  REQUIRE(client);
  REQUIRE(wait_ready(listener.fd.get(), true, false, kHang).readable);
  SocketAddress peer;
  UniqueFd accepted = accept_from(listener.fd.get(), peer);
  REQUIRE(accepted);
  CHECK(peer.to_string() == SocketAddress::local_of(client.get()).to_string());
  auto option = [&](int level, int name) {
    int value = 0;
    socklen_t size = sizeof(value);
    REQUIRE(::getsockopt(accepted.get(), level, name, &value, &size) == 0);
    return value;
  };
  CHECK(option(IPPROTO_TCP, TCP_NODELAY) != 0);
  CHECK(option(SOL_SOCKET, SO_KEEPALIVE) != 0);
#if defined(__linux__)
  CHECK(option(IPPROTO_TCP, TCP_KEEPIDLE) == 60);
  CHECK(option(IPPROTO_TCP, TCP_KEEPINTVL) == 10);
  CHECK(option(IPPROTO_TCP, TCP_KEEPCNT) == 6);
#endif
  CHECK_FALSE(accept_from(listener.fd.get(), peer));
}

TEST_CASE("what cannot be a host is refused at once") {
  for (const std::string& host : {std::string(), std::string("a\0b", 3), std::string(254, 'h')}) {
    try {
      resolved(host);
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::kInvalidArgument);
    }
  }
}

TEST_CASE("a listener takes the addresses of its host and one port") {
  std::vector<Listener> listeners = listen_on("localhost", 0);
  REQUIRE_FALSE(listeners.empty());
  for (const Listener& listener : listeners) {
    std::string host = listener.address.host();
    CHECK((host.starts_with("127.") || host == "::1"));
    CHECK(listener.address.port() == listeners.front().address.port());
  }
}

TEST_CASE("an address of another machine cannot be listened on") {
  try {
    listen_on("192.0.2.1", 0);
    FAIL("listens");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kConnection);
    CHECK(error.message().find("does not belong to this machine") != std::string::npos);
  }
}

TEST_CASE("nobody ever connects to oneself") {
  // Who connects again and again to a local port where nobody listens is once given that port as
  // its own, and TCP then connects it to itself.
  uint16_t free_port = listen_on("127.0.0.1", 0).front().address.port();
  for (uint16_t port : {free_port, static_cast<uint16_t>(free_port ^ 1)}) {
    SocketAddress address = resolve("127.0.0.1", port, Deadline::after(kHang)).front();
    for (int i = 0; i < 40'000; ++i) {
      int error = 0;
      UniqueFd fd = connect_to(address, kHang, error);
      REQUIRE_FALSE(fd);
      REQUIRE(error == ECONNREFUSED);
    }
  }
}

TEST_CASE("an IPv4 address in the form of IPv6 is that IPv4 address, to connect and to listen") {
  SocketAddress address = resolved("::ffff:127.0.0.2").front();
  CHECK(address.family() == AF_INET);
  CHECK(address.to_string() == "127.0.0.2:29400");
  std::vector<Listener> listeners = listen_on("::ffff:127.0.0.2", 0);
  REQUIRE(listeners.size() == 1);
  CHECK(listeners.front().address.host() == "127.0.0.2");
  int error = 0;
  SocketAddress wanted =
      resolve("127.0.0.2", listeners.front().address.port(), Deadline::after(kHang)).front();
  CHECK(connect_to(wanted, kHang, error));
  CHECK(error == 0);
}

TEST_CASE("of IPv6 a network is half of an address, and of IPv4 all of it") {
  CHECK(resolved("10.1.2.3").front().network() == "10.1.2.3");
  CHECK(resolved("::ffff:10.1.2.3").front().network() == "10.1.2.3");
  CHECK(resolved("2001:db8:1:2:3:4:5:6").front().network() == "2001:db8:1:2::/64");
  CHECK(resolved("2001:db8:1:2::9").front().network() == "2001:db8:1:2::/64");
  CHECK(resolved("2001:db8:1:3::9").front().network() == "2001:db8:1:3::/64");
}

#if defined(TCP_USER_TIMEOUT)
TEST_CASE("accepted connections have the kernel's time limit for what is not acknowledged") {
  std::vector<Listener> listeners = listen_on("127.0.0.1", 0);
  prepare_listener(listeners.front().fd.get());
  int error = 0;
  UniqueFd client = connect_to(listeners.front().address, kHang, error);
  REQUIRE(wait_ready(listeners.front().fd.get(), true, false, kHang).readable);
  SocketAddress peer;
  UniqueFd accepted = accept_from(listeners.front().fd.get(), peer);
  REQUIRE(accepted);
  unsigned timeout_ms = 0;
  socklen_t size = sizeof(timeout_ms);
  REQUIRE(::getsockopt(accepted.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, &size) == 0);
  CHECK(timeout_ms > 0);
  CHECK(std::chrono::milliseconds(timeout_ms) < std::chrono::minutes(2));
}
#endif
