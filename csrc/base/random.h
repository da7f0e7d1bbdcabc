// Random bytes from the operating system, for identities; and jitter for retries, which needs no
// secrecy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>

namespace rdzv {

inline void fill_random(uint8_t* bytes, size_t size) {
  std::random_device device;
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(device());
}

// Tells one call from all others.
inline uint64_t random_token() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

// A factor between 0.5 and 1.5.
inline double jitter() {
  thread_local std::minstd_rand engine{std::random_device{}()};
  return std::uniform_real_distribution<double>(0.5, 1.5)(engine);
}

}  // namespace rdzv
