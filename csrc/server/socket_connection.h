// The socket of one connection: reads what the core wants to read, and sends what it says. Owns the
// descriptor, and when the loop looks at it; everything else is the core's. Runs on the loop
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "net/address.h"
#include "net/event_loop.h"
#include "net/process_fd.h"
#include "server/core.h"
#include "server/secure_line.h"
#include "server/security.h"
#include "server/suspects.h"

namespace rdzv {

class SocketConnection final : public EventHandler, public Transport {
 public:
  using OnClosed = std::function<void(int fd)>;  // the number it had
  // What the sockets of one server share.
  struct Shared {
    EventLoop& loop;
    ServerCore& core;
    OnClosed on_closed;
    Suspects suspects;
    ServerSecurity security{};
    // A handshake costs more than most requests: so many of those that are not known yet are looked
    // at in a turn, the others wait here, by descriptor.
    static constexpr int kHellosATurn = 16;
    int hellos_left = kHellosATurn;
    std::deque<int> waiting{};
    // What was read last.
    std::vector<char> buffer = std::vector<char>(256 * 1024);
    // What it said, of a connection by TLS; and small pieces of an answer, joined.
    std::string plain{};
    std::string joined{};

    Moment time() const { return loop.moment(); }
  };

  SocketConnection(UniqueFd fd, const SocketAddress& peer, Shared& shared);
  ~SocketConnection() override;

  // Once: reads what the peer has sent already, and watches for the rest. That spares the loop an
  // event for each newcomer.
  void begin();

  void on_ready(bool readable, bool writable) override;
  void on_refused(int error) override;

  std::optional<size_t> send(std::span<const Bytes> pieces) override;
  void on_changed() override;
  void read_again() override;
  void close() override;
  std::string peer() const override { return peer_.to_string(); }
  std::string peer_host() const override { return peer_.host(); }
  std::string reached_at() const override;
  const tls::Identity* identity() const override {
    return line_ == nullptr ? nullptr : line_->peer();
  }

  const Connection& connection() const { return connection_; }
  // It stands in Shared::waiting, and has its turn now.
  void begin_late();

 private:
  void receive();
  bool is_known() const { return is_admitted_ && (line_ == nullptr || line_->peer() != nullptr); }
  bool has_to_wait();
  bool is_slowed_down();
  bool admit(char first_byte);
  void refuse(const std::string& why);
  void take(Bytes received);
  void take_secured(Bytes received);
  void update_interest();
  void update_low_water();
  void set_low_water(size_t bytes);

  ProcessFd fd_;
  SocketAddress peer_;  // kept, because a broken socket no longer knows it
  Shared& shared_;
  Connection& connection_;
  std::unique_ptr<SecureLine> line_;  // of a connection by TLS
  bool is_admitted_ = false;          // by its first byte
  bool is_waiting_ = false;           // in Shared::waiting
  bool is_slow_ = false;              // until patience_ is over
  bool was_slow_ = false;             // and is not slowed down again
  uint32_t low_water_ = 1;
  // While what is waited for is a guess: when it is given up. Of a newcomer that is slowed down: when
  // it is looked at.
  std::optional<EventLoop::TimerId> patience_;
};

}  // namespace rdzv
