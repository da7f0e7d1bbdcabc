// Which run of the operating system this is: what a file holds that was not yet on the disk is lost
// with it.
#pragma once

#include <array>
#include <cstdint>

namespace rdzv {

using BootId = std::array<uint8_t, 16>;

// The same until this host starts anew. All zeros where the system does not tell.
BootId this_boot();

}  // namespace rdzv
