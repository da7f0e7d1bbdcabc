// Threads that use stores at once, and clients of one server.
#pragma once

#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "client/tcp_store.h"
#include "support.h"

namespace rdzv::test {

// Runs `work(i)` on that many threads at once; what the first of them threw, or "".
inline std::string on_threads(int count, const std::function<void(int)>& work) {
  std::latch begin(count);
  std::mutex mutex;
  std::string failure;
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      begin.arrive_and_wait();
      try {
        work(i);
      } catch (const std::exception& error) {
        std::lock_guard lock(mutex);
        if (failure.empty()) failure = "thread " + std::to_string(i) + ": " + error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return failure;
}

inline void expect(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what);
}

inline ErrorCode code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kOk;
}

inline std::shared_ptr<TCPStore> hosting_store() {
  TCPStore::Options options;
  options.host = "127.0.0.1";
  options.is_master = true;
  options.timeout = kHang;
  return TCPStore::open(options);
}

inline std::shared_ptr<TCPStore> client_of(
    const TCPStore& host, TCPStore::Protocol protocol = TCPStore::Protocol::kNative) {
  TCPStore::Options options;
  options.host = "127.0.0.1";
  options.port = host.port();
  options.timeout = kHang;
  options.protocol = protocol;
  return TCPStore::open(options);
}

}  // namespace rdzv::test
