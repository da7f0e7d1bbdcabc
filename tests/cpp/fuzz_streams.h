// Valid streams of both protocols, and random damage to them. Deterministic: the same seed makes
// the same bytes on every machine.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

#include "support.h"

namespace rdzv::test {

class FuzzStreams {
 public:
  explicit FuzzStreams(uint64_t seed) : seed_(seed), random_(seed) {}

  uint64_t below(uint64_t end) { return random_() % end; }
  std::string c10d();    // begins with VALIDATE
  std::string native();  // begins with preamble and HELLO
  std::string either() { return below(2) == 0 ? c10d() : native(); }
  // One to four damages; with one in eight, none.
  std::string damaged(std::string stream);

 private:
  std::string key();
  std::string value();
  std::string c10d_one();
  std::string native_one();
  std::string run_one(uint64_t id, uint32_t timeout_ms);
  Fields exchange_body(uint32_t timeout);
  void damage(std::string& stream);
  void edit_number(std::string& stream);

  uint64_t seed_;
  std::mt19937_64 random_;
};

// How many damaged streams a test tries: RDZV_FUZZ_RUNS, or 10,000.
inline uint64_t fuzz_runs() {
  const char* runs = std::getenv("RDZV_FUZZ_RUNS");
  return runs == nullptr ? 10'000 : std::strtoull(runs, nullptr, 10);
}
// RDZV_FUZZ_SEED, or 1. Run n of a test has seed n more than this.
inline uint64_t fuzz_seed() {
  const char* seed = std::getenv("RDZV_FUZZ_SEED");
  return seed == nullptr ? 1 : std::strtoull(seed, nullptr, 10);
}

}  // namespace rdzv::test
