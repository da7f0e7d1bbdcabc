// Hashing of what peers send. A peer that knows the hash can build keys that all fall into one
// bucket, and one request of such keys then costs minutes; so every map whose keys a peer chooses
// is seeded. The seed is an argument, because the core draws no random numbers.
//
// The function is SipHash (Aumasson and Bernstein, 2012) with one round a word and three at the
// end, which is what Python, Rust and Perl use for their own tables. No library of it can be had
// as a build dependency of a wheel.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/gradual_map.h"

namespace rdzv {

struct HashSeed {
  uint64_t low = 0;
  uint64_t high = 0;
};

namespace siphash {

struct State {
  uint64_t a, b, c, d;

  explicit State(HashSeed seed)
      : a(seed.low ^ 0x736f6d6570736575),
        b(seed.high ^ 0x646f72616e646f6d),
        c(seed.low ^ 0x6c7967656e657261),
        d(seed.high ^ 0x7465646279746573) {}

  void round() {
    a += b;
    b = std::rotl(b, 13) ^ a;
    a = std::rotl(a, 32);
    c += d;
    d = std::rotl(d, 16) ^ c;
    a += d;
    d = std::rotl(d, 21) ^ a;
    c += b;
    b = std::rotl(b, 17) ^ c;
    c = std::rotl(c, 32);
  }

  template <int kRounds>
  void absorb(uint64_t word) {
    d ^= word;
    for (int i = 0; i < kRounds; ++i) round();
    a ^= word;
  }

  template <int kRounds>
  uint64_t finish() {
    c ^= 0xff;
    for (int i = 0; i < kRounds; ++i) round();
    return a ^ b ^ c ^ d;
  }
};

template <int kWordRounds, int kEndRounds>
uint64_t hash(HashSeed seed, Bytes bytes) {
  State state(seed);
  const char* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= sizeof(uint64_t); at += sizeof(uint64_t), left -= sizeof(uint64_t))
    state.absorb<kWordRounds>(load_little_endian<uint64_t>(at));
  uint64_t last = static_cast<uint64_t>(bytes.size()) << 56;
  for (size_t i = 0; i < left; ++i)
    last |= static_cast<uint64_t>(static_cast<unsigned char>(at[i])) << (8 * i);
  state.absorb<kWordRounds>(last);
  return state.finish<kEndRounds>();
}

}  // namespace siphash

inline uint64_t hash_bytes(HashSeed seed, Bytes bytes) {
  return siphash::hash<1, 3>(seed, bytes);
}

inline uint64_t hash_number(HashSeed seed, uint64_t number) {
  siphash::State state(seed);
  state.absorb<1>(number);
  return state.finish<3>();
}

// Lets maps keyed by std::string be searched by a view.
struct BytesHash {
  using is_transparent = void;
  HashSeed seed;
  size_t operator()(Bytes bytes) const { return hash_bytes(seed, bytes); }
};

// Made with (0, BytesHash{seed}).
template <typename Value>
using BytesMap = GradualMap<std::string, Value, BytesHash>;

struct NumberHash {
  HashSeed seed;
  size_t operator()(uint64_t number) const { return hash_number(seed, number); }
};

// Made with (0, NumberHash{seed}).
template <typename Number, typename Value>
using NumberMap = GradualMap<Number, Value, NumberHash>;

}  // namespace rdzv
