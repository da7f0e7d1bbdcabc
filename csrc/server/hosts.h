// From which addresses clients of the native protocol have greeted the server: so that who waits for a
// node can be told how far it got. Those that have gone are remembered as long as they are few.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <new>
#include <string>

#include "base/bytes.h"
#include "base/hash.h"
#include "wire/run_look_messages.h"

namespace rdzv {

class Hosts {
 public:
  struct Host {
    size_t connections = 0;
  };

  explicit Hosts(HashSeed seed) : hosts_(0, BytesHash{seed}) {}

  // A connection from there. It stays where it is until it has gone.
  Host& come(const std::string& address) {
    Host& host = hosts_.try_emplace(address).first->second;
    ++host.connections;
    return host;
  }
  void go(Host& host, const std::string& address) noexcept {
    if (--host.connections > 0) return;
    try {
      gone_.push_back(address);
    } catch (const std::bad_alloc&) {
      hosts_.erase(hosts_.find(address));
      return;
    }
    if (gone_.size() <= kGoneMax) return;
    const auto oldest = hosts_.find(gone_.front());
    if (oldest != hosts_.end() && oldest->second.connections == 0) hosts_.erase(oldest);
    gone_.pop_front();
  }
  native::HostState state(Bytes address) const {
    const auto found = hosts_.find(address);
    if (found == hosts_.end()) return native::HostState::kNever;
    return found->second.connections > 0 ? native::HostState::kIs : native::HostState::kWas;
  }

 private:
  static constexpr size_t kGoneMax = 4096;

  BytesMap<Host> hosts_;
  std::deque<std::string> gone_;
};

}  // namespace rdzv
