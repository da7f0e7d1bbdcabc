// The addresses of this machine's interfaces. Asks the system each time. Any thread.
#pragma once

#include <string>
#include <vector>

namespace rdzv {

// Numeric, of IPv4 and IPv6, secondary ones included; none where the system does not say.
std::vector<std::string> interface_addresses();

}  // namespace rdzv
