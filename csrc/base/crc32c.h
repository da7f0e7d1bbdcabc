// CRC32C (Castagnoli): finds records that were cut short or damaged. Portable, about 1 ns a byte.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace rdzv {

uint32_t crc32c(Bytes bytes);

}  // namespace rdzv
