// How a process of the driver and its coordinator speak, over a socket pair: whole messages, each a
// kind, a length and a body. Both ends are of one program, so the order of bytes is not the matter.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"

namespace rdzv::tools {

enum class Said : uint8_t {
  kMeet,    // to and fro: one byte, whether the sender is well, and whether all are
  kReport,  // Report::encode
  kError,   // a code of ErrorCode, then the message
};

// False when the other end is gone.
bool say(int fd, Said said, Bytes body);
bool hear(int fd, Said& said, std::string& body);

}  // namespace rdzv::tools
