// libFuzzer's entry: one target a program, which the build names.
#include <cstddef>
#include <cstdint>

#include "targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rdzv::fuzz::RDZV_FUZZ_TARGET(rdzv::Bytes(reinterpret_cast<const char*>(data), size));
  return 0;
}
