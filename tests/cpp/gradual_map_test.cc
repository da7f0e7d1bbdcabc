// The hash table that grows in parts.
#include "base/gradual_map.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>

#include "base/hash.h"
#include "support.h"

using namespace rdzv;

namespace {

// So many of its hashes are equal that each place has several.
struct CoarseHash {
  size_t operator()(uint64_t number) const { return number * 0x9e3779b97f4a7c15 >> 52; }
};

using Map = GradualMap<uint64_t, std::string, CoarseHash>;

}  // namespace

TEST_CASE("a gradual map does what a map does, while it grows as well") {
  Map map(0, CoarseHash{});
  std::map<uint64_t, std::string> model;
  std::mt19937_64 random(1);
  for (int step = 0; step < 200'000; ++step) {
    const uint64_t key = random() % 5000;
    switch (random() % (step < 100'000 ? 4 : 6)) {
      case 0:
      case 1: {
        const std::string text = std::to_string(step);
        CHECK(map.emplace(key, text).second == model.emplace(key, text).second);
        break;
      }
      case 2:
        map[key] = model[key] = std::to_string(step);
        break;
      case 3: {
        const auto found = map.find(key);
        REQUIRE((found == map.end()) == !model.contains(key));
        if (found != map.end()) REQUIRE(found->second == model.at(key));
        break;
      }
      case 4:
        REQUIRE(map.erase(key) == model.erase(key));
        break;
      default:
        if (map.empty()) break;
        auto gone = map.extract(map.begin());
        REQUIRE(gone.mapped() == model.at(gone.key()));
        model.erase(gone.key());
    }
    REQUIRE(map.size() == model.size());
    if (step % 20'000 != 0) continue;
    std::map<uint64_t, std::string> seen;
    for (const auto& [each, text] : map) REQUIRE(seen.emplace(each, text).second);
    REQUIRE(seen == model);
  }
}

TEST_CASE("what is in a gradual map stays where it is, and can be erased on a walk over it") {
  GradualMap<std::string, int, BytesHash> map(0, BytesHash{{1, 2}});
  const int* first = &map["first"];
  for (int i = 0; i < 10'000; ++i) map[std::to_string(i)] = i;
  CHECK(first == &map.at(Bytes("first")));
  size_t odd = 0;
  for (auto at = map.begin(); at != map.end();) {
    if (at->second % 2 == 1) {
      at = map.erase(at);
      ++odd;
    } else {
      ++at;
    }
  }
  CHECK(odd == 5000);
  CHECK(map.size() == 5001);
  CHECK(first == &map.at(Bytes("first")));
  map.clear();
  CHECK(map.empty());
  CHECK(map.begin() == map.end());
  map["again"] = 1;
  CHECK(map.begin()->first == "again");
}

namespace {

size_t hashed = 0;
struct CountingHash {
  size_t operator()(uint64_t number) const {
    ++hashed;
    return number;
  }
};

// Whether its key was moved from cannot be seen; that its place in a chain was looked at, can.
struct CountingEqual {
  static inline size_t compared = 0;
  bool operator()(uint64_t a, uint64_t b) const {
    ++compared;
    return a == b;
  }
};

}  // namespace

TEST_CASE("no key is hashed again when a gradual map grows") {
  GradualMap<uint64_t, int, CountingHash, CountingEqual> map(0, CountingHash{});
  for (uint64_t i = 0; i < 100'000; ++i) map.emplace(i, 0);
  CHECK(hashed == 100'000);
  CHECK(CountingEqual::compared == 0);
}
