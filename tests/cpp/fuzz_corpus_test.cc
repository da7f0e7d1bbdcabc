// What libFuzzer found worth keeping (`nox -s fuzz`), and that once went wrong, in every build.
#include <doctest/doctest.h>

#include <string>

#include "../fuzz/pack.h"
#include "../fuzz/targets.h"

using namespace rdzv;

TEST_CASE("inputs that a fuzzer kept do no harm") {
  for (const fuzz::Target& target : fuzz::kTargets) {
    CAPTURE(target.name);
    const auto inputs = fuzz::unpack(std::string(RDZV_FUZZ_CORPUS "/") + target.name);
    REQUIRE_FALSE(inputs.empty());
    for (const std::string& input : inputs) target.run(input);
  }
}

TEST_CASE("whatever is cut off from an input that a fuzzer kept does no harm") {
  for (const fuzz::Target& target : fuzz::kTargets) {
    const auto inputs = fuzz::unpack(std::string(RDZV_FUZZ_CORPUS "/") + target.name);
    for (const std::string& input : inputs) {
      target.run(Bytes(input).substr(0, input.size() / 2));
      target.run(Bytes(input).substr(input.size() / 3));
    }
    target.run({});
  }
}
