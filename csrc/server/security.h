// What a server asks of its newcomers, by their first byte: TLS, plain bytes, or neither. Knows no
// socket.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "tls/keeper.h"

namespace rdzv {

struct ServerSecurity {
  // None: everybody may speak, and nobody by TLS.
  std::shared_ptr<tls::Keeper> keeper{};
};

// How a connection goes on.
struct Admission {
  enum class Way : uint8_t { kPlain, kTls, kRefused };
  Way way = Way::kPlain;
  // kRefused: for the log, and for the peer, in its own protocol.
  std::string why{};
  std::string answer{};
};
Admission admit(const ServerSecurity& security, char first_byte, bool is_loopback);

}  // namespace rdzv
