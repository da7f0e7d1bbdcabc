// What a server asks of its newcomers: where they come from, and by their first byte TLS, plain
// bytes, or neither. Knows no socket.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "tls/keeper.h"

namespace rdzv {

// Numeric addresses. A filter and no proof: for those whose protocol has no place for one. Any
// thread.
class AllowedPeers {
 public:
  void set(std::set<std::string> addresses) {
    std::lock_guard lock(mutex_);
    addresses_ = std::move(addresses);
  }
  bool contains(const std::string& address) const {
    std::lock_guard lock(mutex_);
    return addresses_.contains(address);
  }

 private:
  mutable std::mutex mutex_;  // protects addresses_
  std::set<std::string> addresses_;
};

struct ServerSecurity {
  // None: everybody may speak, and nobody by TLS.
  std::shared_ptr<tls::Keeper> keeper{};
  // Whoever hosts it has said that everybody on the network may come in.
  bool is_insecure = false;
  // Who may come in without a proof, beside this machine's own loopback. None: nobody where there is
  // a keeper, else everybody.
  std::shared_ptr<AllowedPeers> allowed{};

  bool takes_unproved(const std::string& peer_host, bool is_loopback) const;
};

// Closed by default: throws kRefused, with the two ways on, where others than this machine could
// come in without a proof. Logs a warning where the host has said that they may.
// `where`: host and port; `is_exposed`: it is not for this machine alone.
void check_closed(const ServerSecurity& security, const std::string& host, const std::string& where,
                  bool is_exposed);

// How a connection goes on.
struct Admission {
  enum class Way : uint8_t { kPlain, kTls, kRefused };
  Way way = Way::kPlain;
  // kRefused: for the log, and for the peer, in its own protocol.
  std::string why{};
  std::string answer{};
};
// `may_do_without`: takes_unproved().
Admission admit(const ServerSecurity& security, char first_byte, bool may_do_without);

}  // namespace rdzv
