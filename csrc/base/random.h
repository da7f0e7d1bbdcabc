// Random bytes from the operating system, for identities; and jitter for retries, which needs no
// secrecy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>

#include "base/hash.h"

namespace rdzv {

// Throws kConnection when the system has none to give.
void fill_random(uint8_t* bytes, size_t size);

inline HashSeed random_seed() {
  uint8_t bytes[2 * sizeof(uint64_t)];
  fill_random(bytes, sizeof(bytes));
  Bytes drawn(reinterpret_cast<const char*>(bytes), sizeof(bytes));
  return {load_little_endian<uint64_t>(drawn.data()),
          load_little_endian<uint64_t>(drawn.data() + sizeof(uint64_t))};
}

// Tells one call from all others.
inline uint64_t random_token() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

// A factor between 0.5 and 1.5.
double jitter();

}  // namespace rdzv
