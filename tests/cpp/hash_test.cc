// Hashing of what peers send.
#include <doctest/doctest.h>

#include <string>

#include "base/hash.h"

using namespace rdzv;

// The vectors of the paper's reference implementation, for two rounds a word and four at the end:
// key 00 01 ... 0f, messages of 0, 1, 8 and 15 bytes 00 01 02 ...
TEST_CASE("the hash is SipHash") {
  HashSeed key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  std::string message;
  for (char byte = 0; byte < 15; ++byte) message.push_back(byte);
  auto hash = [&](size_t size) { return siphash::hash<2, 4>(key, Bytes(message).substr(0, size)); };
  CHECK(hash(0) == 0x726fdb47dd0e0e31);
  CHECK(hash(1) == 0x74f839c593dc67fd);
  CHECK(hash(8) == 0x93f5f5799a932462);
  CHECK(hash(15) == 0xa129ca6149be45e5);
}

TEST_CASE("another seed gives other hashes, of bytes and of numbers") {
  CHECK(hash_bytes({1, 2}, "key") == hash_bytes({1, 2}, "key"));
  CHECK(hash_bytes({1, 2}, "key") != hash_bytes({1, 3}, "key"));
  CHECK(hash_number({1, 2}, 7) == hash_number({1, 2}, 7));
  CHECK(hash_number({1, 2}, 7) != hash_number({2, 2}, 7));
}
