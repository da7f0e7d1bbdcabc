// Who listens on a port, for the error message of a server that cannot have it.
#pragma once

#include <cstdint>
#include <string>

namespace rdzv {

// "pid 4711 (python3)", or empty when it cannot be found out (another user's process, not Linux).
std::string find_port_holder(uint16_t port);

}  // namespace rdzv
