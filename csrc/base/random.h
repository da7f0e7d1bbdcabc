// Random bytes from the operating system, for identities; and jitter for retries, which needs no
// secrecy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>

namespace rdzv {

// Throws kConnection when the system has none to give.
void fill_random(uint8_t* bytes, size_t size);

// A factor between 0.5 and 1.5.
double jitter();

}  // namespace rdzv
