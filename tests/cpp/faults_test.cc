// Every system call that a server or a client makes fails once: the k-th of its kind, for every k,
// with each error that its manual page knows. Nothing may abort, spin or hang; the others are
// served, and what fails says so with an Error.
#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/error.h"
#include "client/tcp_store.h"
#include "net/event_loop.h"
#include "server/server.h"
#include "support.h"
#include "sys_faults.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

// Far above what a scene makes; a loop that spins makes as many in some milliseconds.
constexpr uint64_t kCallsMax = 3000;
constexpr uint64_t kAttemptsMax = 400;

TCPStore::Options client_options(uint16_t port, TCPStore::Protocol protocol) {
  TCPStore::Options options;
  options.host = "127.0.0.1";
  options.port = port;
  options.timeout = kHang;
  options.protocol = protocol;
  return options;
}

// A few calls of each sort. Errors of ours are let pass; anything else is not.
void use(TCPStore& store) {
  for (int round = 0; round < 2; ++round) {
    try {
      store.set("k", "v");
      store.add("n", 1);
      store.wait({"k"}, kHang);
      store.set("large", std::string(200'000, 'x'));
      store.get("large", kHang);
      store.get("missing", std::chrono::milliseconds(5));
    } catch (const Error& error) {
      CHECK_FALSE(error.message().empty());
    }
  }
}

void use_from_outside(uint16_t port, TCPStore::Protocol protocol) {
  Exempt exempt;
  try {
    const std::shared_ptr<TCPStore> store = TCPStore::open(client_options(port, protocol));
    use(*store);
  } catch (const Error& error) {
    CHECK_FALSE(error.message().empty());
  }
}

// Others are served, whatever happened before.
void check_serves(uint16_t port) {
  Exempt exempt;
  for (auto protocol : {TCPStore::Protocol::kNative, TCPStore::Protocol::kC10d}) {
    const std::shared_ptr<TCPStore> store = TCPStore::open(client_options(port, protocol));
    store->set("after", "fault");
    CHECK(store->get("after", kHang) == "fault");
  }
}

void check_quiet() {
  uint64_t before = all_calls();
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  CHECK(all_calls() - before < 500);
}

// Runs the scene with the k-th call failing, for every k and error, until none of that kind is left
// to fail.
void for_every_call(const std::function<void()>& scene) {
  for (size_t index = 0; index < kCalls; ++index) {
    auto call = static_cast<Call>(index);
    for (int error : errors_of(call)) {
      bool failed = true;
      for (uint64_t k = 0; failed; ++k) {
        INFO("the call of " << name_of(call) << " number " << k << " fails with " << error);
        REQUIRE(k < kAttemptsMax);
        fail_call(call, k, error);
        uint64_t before = all_calls();
        scene();
        CHECK(all_calls() - before < kCallsMax);
        hold_faults();
        failed = has_failed();
      }
    }
  }
}

}  // namespace

TEST_CASE("whatever system call fails once, a server serves on or says why it cannot start") {
  for_every_call([] {
    std::unique_ptr<Server> server;
    try {
      server = std::make_unique<Server>("127.0.0.1", 0);
    } catch (const Error& error) {
      CHECK_FALSE(error.message().empty());
      return;
    }
    for (auto protocol : {TCPStore::Protocol::kNative, TCPStore::Protocol::kC10d})
      use_from_outside(server->port(), protocol);
    hold_faults();
    check_quiet();
    check_serves(server->port());
    Exempt exempt;
    server.reset();
  });
}

TEST_CASE("whatever system call fails once, a client goes on or says why it cannot") {
  Server server("127.0.0.1", 0);
  for (auto protocol : {TCPStore::Protocol::kNative, TCPStore::Protocol::kC10d}) {
    for_every_call([&] {
      OnlyHere here;
      std::shared_ptr<TCPStore> store;
      try {
        store = TCPStore::open(client_options(server.port(), protocol));
        use(*store);
      } catch (const Error& error) {
        CHECK_FALSE(error.message().empty());
      }
      Exempt exempt;
      if (store != nullptr) {
        store->set("again", "works");
        CHECK(store->get("again", kHang) == "works");
      }
    });
  }
}

TEST_CASE("whatever system call fails once, a store that hosts its server starts or says why not") {
  for_every_call([] {
    try {
      TCPStore::Options options;
      options.host = "localhost";
      options.is_master = true;
      options.timeout = kHang;
      const std::shared_ptr<TCPStore> store = TCPStore::open(options);
      Exempt exempt;
      store->set("k", "v");
    } catch (const Error& error) {
      CHECK_FALSE(error.message().empty());
    }
  });
}

TEST_CASE("a server whose every accept fails does not spin, and serves when that is over") {
  for (int error : errors_of(Call::kAccept)) {
    if (error == EINTR) continue;  // a signal for each call is no error
    INFO("accept4 fails with " << error);
    Server server("127.0.0.1", 0);
    fail_call(Call::kAccept, 0, error, true);
    std::thread client([&] {
      Exempt exempt;
      use_from_outside(server.port(), TCPStore::Protocol::kNative);
    });
    while (calls_of(Call::kAccept) == 0) std::this_thread::yield();
    uint64_t before = all_calls();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    CHECK(all_calls() - before < 1000);
    hold_faults();
    client.join();
    check_serves(server.port());
  }
}

#if !defined(RDZV_USE_POLL)
TEST_CASE("where epoll takes no more descriptors, those that it has are served") {
  Server server("127.0.0.1", 0);
  Exempt exempt;
  NativePeer first(server.port());
  fail_call(Call::kEpollCtl, 0, ENOSPC, true);
  for (int i = 0; i < 3; ++i) {
    Peer refused(server.port());
    refused.receive_to_end();  // it ends
    first.ping();
  }
  hold_faults();
  CHECK(logged("max_user_watches") != "");
  check_serves(server.port());
}
#endif
