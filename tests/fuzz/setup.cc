// What stands behind the checks of the tests' helpers (certificates, streams), once for all fuzzers.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

// libFuzzer calls it first, where it is linked in: in whatever uses these helpers.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  static doctest::Context context;
  context.setAsDefaultForAssertsOutOfTestCases();
  return 0;
}
