// The views of exchanges: what they know without looking, and when they look again.
#include "server/exchanges.h"

#include <doctest/doctest.h>

#include <string>

#include "store/exchange.h"
#include "support.h"

using namespace rdzv;
using namespace rdzv::test;
using State = Exchanges::Progress::State;

namespace {

struct Scene {
  Table table;
  Exchanges exchanges{table};

  void give(int64_t rank, Bytes value = "v", Bytes key = "x") {
    table.set(exchange_slot(key, rank), value);
  }
  Exchanges::Progress ask(int64_t world_size, size_t units = SIZE_MAX, Bytes key = "x") {
    Budget budget;
    budget.give(units);
    return exchanges.ask(key, world_size, budget);
  }
  static std::string text(const Exchanges::Progress& found) {
    std::string all;
    for (const SharedBytes& piece : found.body->pieces()) all += *piece;
    CHECK(all.size() == found.body->bytes());
    return all;
  }
};

}  // namespace

TEST_CASE("an arrival costs the same however many have come") {
  Scene scene;
  constexpr int64_t kSize = 2000;
  for (int64_t rank = 0; rank < kSize - 1; ++rank) {
    scene.give(rank);
    const auto found = scene.ask(kSize);
    REQUIRE(found.state == State::kMissing);
    REQUIRE(found.rank == rank + 1);
  }
  // Each slot once, and once more the one that was missing.
  CHECK(scene.exchanges.looks() <= 2 * kSize);
  scene.give(kSize - 1);
  CHECK(scene.ask(kSize).state == State::kWhole);
}

TEST_CASE("an answer that was made is not made again while something else is written") {
  Scene scene;
  for (int64_t rank = 0; rank < 100; ++rank) scene.give(rank);
  const auto* body = scene.ask(100).body;
  const uint64_t looks = scene.exchanges.looks();
  for (int i = 0; i < 100; ++i) {
    scene.table.set("elsewhere", std::to_string(i));
    scene.table.erase("elsewhere");
    scene.exchanges.trim();
    REQUIRE(scene.ask(100).body == body);
  }
  CHECK(scene.exchanges.looks() == looks);
}

TEST_CASE("exchanges that alternate, and two sizes at one key, are each looked at once") {
  Scene scene;
  for (const char* key : {"a", "b"}) {
    for (int64_t rank = 0; rank < 200; ++rank) scene.give(rank, "v", key);
  }
  for (int i = 0; i < 100; ++i) {
    for (int64_t size : {100, 200}) {
      for (const char* key : {"a", "b"})
        REQUIRE(scene.ask(size, SIZE_MAX, key).state == State::kWhole);
    }
    scene.table.set("elsewhere", std::to_string(i));
    scene.exchanges.trim();
  }
  CHECK(scene.exchanges.looks() == 600);
}

TEST_CASE("a slot that is written again or erased is noticed") {
  Scene scene;
  for (int64_t rank = 0; rank < 3; ++rank) scene.give(rank);
  const auto expected = [](Bytes middle) {
    return Fields().u32(3).string32("v").string32(middle).string32("v").bytes;
  };
  CHECK(Scene::text(scene.ask(3)) == expected("v"));
  scene.give(1, "new");
  CHECK(Scene::text(scene.ask(3)) == expected("new"));
  scene.table.erase(exchange_slot("x", 1));
  CHECK(scene.ask(3).state == State::kMissing);
  CHECK(scene.ask(3).rank == 1);
  scene.exchanges.trim();
  scene.give(1, std::string(10'000, 'x'));
  CHECK(Scene::text(scene.ask(3)) == expected(std::string(10'000, 'x')));
}

TEST_CASE("much is looked at and made in slices, and whoever asks helps on") {
  Scene scene;
  constexpr int64_t kSize = 5000;
  for (int64_t rank = 0; rank < kSize; ++rank) scene.give(rank, std::string(100, 'v'));
  size_t slices = 1;
  auto found = scene.ask(kSize, 1000);
  for (; found.state == State::kSpent; ++slices) {
    scene.exchanges.trim();
    // Somebody with another exchange between.
    scene.ask(4000, 1);
    found = scene.ask(kSize, 1000);
  }
  CHECK(slices > 20);
  REQUIRE(found.state == State::kWhole);
  Fields expected;
  expected.u32(kSize);
  for (int64_t rank = 0; rank < kSize; ++rank) expected.string32(std::string(100, 'v'));
  CHECK(Scene::text(found) == expected.bytes);
}

TEST_CASE("who is missing is told although the budget is spent") {
  Scene scene;
  scene.give(0);
  CHECK(scene.ask(2, 0).state == State::kSpent);
  CHECK(scene.ask(2).rank == 1);
  CHECK(scene.ask(2, 0).state == State::kMissing);
}

TEST_CASE("of more exchanges than there are views those that were asked for last are kept") {
  Scene scene;
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < 3 * Exchanges::kViewsMax; ++i) {
      const std::string key = "key" + std::to_string(i);
      for (int64_t rank = 0; rank < 3; ++rank) scene.give(rank, "v", key);
      REQUIRE(scene.ask(3, SIZE_MAX, key).state == State::kWhole);
    }
    scene.exchanges.trim();
  }
  CHECK(scene.exchanges.bytes() < 64 * 1024);
}

TEST_CASE("a slot that is written again does not make the others be looked at again") {
  Scene scene;
  constexpr int64_t kSize = 2000;
  for (int64_t rank = 0; rank < kSize - 1; ++rank) scene.give(rank);
  REQUIRE(scene.ask(kSize).rank == kSize - 1);
  const uint64_t looks = scene.exchanges.looks();
  for (int64_t rank = 0; rank < 100; ++rank) {
    scene.give(rank, "again");
    scene.exchanges.trim();
    REQUIRE(scene.exchanges.come("x", kSize) == kSize - 1);
    REQUIRE(scene.ask(kSize).rank == kSize - 1);
  }
  CHECK(scene.exchanges.looks() <= looks + 100);
}

TEST_CASE("a slot that was written again and then erased is missing from the answer") {
  Scene scene;
  for (int64_t rank = 0; rank < 9; ++rank) scene.give(rank);
  REQUIRE(scene.ask(10).rank == 9);
  scene.give(3, "again");
  REQUIRE(scene.ask(10).rank == 9);
  scene.table.erase(exchange_slot("x", 3));
  scene.give(9);
  const auto found = scene.ask(10);
  REQUIRE(found.state == State::kMissing);
  CHECK(found.rank == 3);
  scene.give(3, "w");
  REQUIRE(scene.ask(10).state == State::kWhole);
  CHECK(scene.text(scene.ask(10)).find("w") != std::string::npos);
}
