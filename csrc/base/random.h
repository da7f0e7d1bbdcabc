// Random bytes from the operating system, for identities; and jitter for retries, which needs no
// secrecy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>

#include "base/hash.h"

namespace rdzv {

inline void fill_random(uint8_t* bytes, size_t size) {
  std::random_device device;
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(device());
}

inline HashSeed random_seed() {
  uint8_t bytes[2 * sizeof(uint64_t)];
  fill_random(bytes, sizeof(bytes));
  Bytes drawn(reinterpret_cast<const char*>(bytes), sizeof(bytes));
  return {load_little_endian<uint64_t>(drawn.data()),
          load_little_endian<uint64_t>(drawn.data() + sizeof(uint64_t))};
}

// A factor between 0.5 and 1.5.
inline double jitter() {
  thread_local std::minstd_rand engine{std::random_device{}()};
  return std::uniform_real_distribution<double>(0.5, 1.5)(engine);
}

}  // namespace rdzv
