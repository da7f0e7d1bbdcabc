#include "base/random.h"

#include <cerrno>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#else
#include <stdlib.h>
#endif

#include "base/clock.h"
#include "base/error.h"

namespace rdzv {

void fill_random(uint8_t* bytes, size_t size) {
#if defined(__linux__)
  while (size > 0) {
    // By its number: the function is missing in C libraries that wheels are still made for.
    const long drawn = ::syscall(SYS_getrandom, bytes, size, 0);
    if (drawn < 0 && errno == EINTR) continue;
    if (drawn < 0) {
      throw Error(ErrorCode::kConnection,
                  "cannot get random bytes from the system (getrandom): " + refusal_text(errno));
    }
    bytes += drawn;
    size -= static_cast<size_t>(drawn);
  }
#else
  ::arc4random_buf(bytes, size);
#endif
}

double jitter() {
  static thread_local int place;  // differs from thread to thread
  static thread_local std::minstd_rand engine{
      static_cast<std::minstd_rand::result_type>(now().time_since_epoch().count()) ^
      static_cast<std::minstd_rand::result_type>(reinterpret_cast<uintptr_t>(&place) >> 4)};
  return std::uniform_real_distribution<double>(0.5, 1.5)(engine);
}

}  // namespace rdzv
