// A transport of the server's core that keeps in memory what it is sent, so that a test says how
// much the peer reads, and when.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "server/transport.h"

namespace rdzv::test {

class MemoryTransport final : public Transport {
 public:
  std::optional<size_t> send(std::span<const Bytes> pieces) override {
    size_t taken = 0;
    for (Bytes piece : pieces) {
      const size_t some = std::min(piece.size(), room - sent.size());
      sent.append(piece.substr(0, some));
      taken += some;
    }
    return taken;
  }
  void on_changed() override {}
  void read_again() override {}
  void close() override { closed = true; }
  std::string peer() const override { return name; }
  std::string peer_host() const override { return name.substr(0, name.rfind(':')); }
  std::string reached_at() const override { return reached; }
  const tls::Identity* identity() const override { return who ? &*who : nullptr; }

  // What the peer reads: all, or up to `most`.
  std::string read(size_t most = SIZE_MAX) {
    std::string taken = sent.substr(0, most);
    sent.erase(0, taken.size());
    return taken;
  }

  std::string name = "127.0.0.1:1";
  std::string reached;
  std::optional<tls::Identity> who;  // it has proved to be
  std::string sent;                  // and not read
  size_t room = SIZE_MAX;            // what of that may lie here
  bool closed = false;
};

}  // namespace rdzv::test
