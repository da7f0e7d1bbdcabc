// libFuzzer's entry: one target a program, which the build names.
#define DOCTEST_CONFIG_IMPLEMENT  // what the tests' certificates are checked with
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>

#include "targets.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  static doctest::Context context;
  context.setAsDefaultForAssertsOutOfTestCases();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rdzv::fuzz::RDZV_FUZZ_TARGET(rdzv::Bytes(reinterpret_cast<const char*>(data), size));
  return 0;
}
