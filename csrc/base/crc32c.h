// CRC32C (Castagnoli): finds records that were cut short or damaged. By the processor's instruction
// where there is one (x86-64), 8 bytes a nanosecond; otherwise by tables, 1.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace rdzv {

uint32_t crc32c(Bytes bytes);

// The same, by tables.
uint32_t crc32c_by_table(Bytes bytes);

}  // namespace rdzv
