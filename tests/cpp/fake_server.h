// A server that misbehaves as the test says, and what tests of clients need beside it.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "client/tcp_store.h"
#include "net/listen.h"
#include "net/socket.h"
#include "support.h"

namespace rdzv::test {

// Listens, and plays one script for each connection, one after the other; the last one again and
// again. A script ends when its connection is to be closed.
class FakeServer {
 public:
  struct Link {
    FakeServer& server;
    UniqueFd fd;

    // False when the client has gone or the server is to end.
    bool read_some(std::string* in = nullptr) {
      while (!server.ending_) {
        char buffer[64 * 1024];
        long count = receive_some(fd.get(), buffer, sizeof(buffer));
        if (count > 0 && in != nullptr) in->append(buffer, static_cast<size_t>(count));
        if (count != kWouldBlock) return count > 0;
        wait_ready(fd.get(), true, false, std::chrono::milliseconds(20));
      }
      return false;
    }
    void write(Bytes bytes) { send_some(fd.get(), bytes); }
    void greet() {
      read_some();
      native::HelloReply hello;
      hello.instance.fill(7);
      std::string out;
      native::Header header;
      header.operation = static_cast<uint8_t>(native::Operation::kHello) | native::kReplyBit;
      size_t begin = native::begin_frame(out, header);
      native::put(out, hello);
      native::end_frame(out, begin);
      write(out);
    }
    // As a server of the c10d protocol: the client's PING carries its process id.
    void greet_c10d() {
      read_some();
      write(Fields().u32(static_cast<uint64_t>(::getpid())).bytes);
    }
    void keep_silent() {
      while (read_some()) {
      }
    }
    void wait_for_end() {
      while (!server.ending_) wait_ready(fd.get(), false, false, std::chrono::milliseconds(20));
    }
  };
  using Script = std::function<void(Link&)>;

  explicit FakeServer(std::vector<Script> scripts)
      : scripts_(std::move(scripts)),
        listener_(std::move(listen_on("127.0.0.1", 0).front())),
        thread_([this] { run(); }) {}
  ~FakeServer() {
    ending_ = true;
    thread_.join();
  }

  uint16_t port() const { return listener_.address.port(); }
  int links() const { return links_; }

 private:
  void run() {
    while (!ending_) {
      wait_ready(listener_.fd.get(), true, false, std::chrono::milliseconds(20));
      SocketAddress peer;
      UniqueFd fd = accept_from(listener_.fd.get(), peer);
      if (!fd) continue;
      size_t index = std::min(static_cast<size_t>(links_++), scripts_.size() - 1);
      Link link{*this, std::move(fd)};
      scripts_[index](link);
    }
  }

  std::vector<Script> scripts_;
  Listener listener_;
  std::atomic<bool> ending_{false};
  std::atomic<int> links_{0};
  std::thread thread_;
};

using Link = FakeServer::Link;

inline TCPStore::Options options_for(uint16_t port, Duration timeout) {
  TCPStore::Options options;
  options.host = "127.0.0.1";
  options.port = port;
  options.timeout = timeout;
  return options;
}

inline Error error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::kOk, "no error");
}

// What the server says, not what the client makes of its being slow.
inline Error answered_error_of(const std::function<void()>& call) {
  for (;;) {
    Error error = error_of(call);
    if (error.message().find(": timeout: no answer within") == std::string::npos) return error;
  }
}

inline bool contains(const Error& error, const std::string& part) {
  return error.message().find(part) != std::string::npos;
}

inline constexpr Duration kShort = std::chrono::milliseconds(60);

}  // namespace rdzv::test
