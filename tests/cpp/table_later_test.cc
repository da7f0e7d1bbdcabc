// Very many who are woken at once: some now, the others when the owner of the table asks for more.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "store/table.h"

using namespace rdzv;
using Need = Table::Need;

namespace {

constexpr size_t kMany = 1000;

struct Scene {
  Table table;
  Table::WaiterOwner owner;
  std::vector<Table::Waiter*> waiters;

  ~Scene() {
    table.drop(owner);
    table.take_woken();
  }

  void wait(const std::vector<Bytes>& keys, Need need = Need::kValue, int64_t target = 0) {
    waiters.push_back(table.wait(owner, waiters.size(), keys, need, target));
  }
  void wait(const SharedKeys& keys, Need need) {
    waiters.push_back(table.wait(owner, waiters.size(), keys, need));
  }
  // The tags of all that are left, `at_once` at a time; they come in the order in which they came.
  size_t take_all_in_order(size_t at_once, uint64_t next) {
    size_t count = 0;
    while (table.has_ripe()) {
      const auto some = table.take_woken(at_once);
      REQUIRE(some.size() <= at_once);
      for (const Table::Woken& woken : some) REQUIRE(woken.tag == next++);
      count += some.size();
    }
    return count;
  }
};

}  // namespace

TEST_CASE("of very many some are woken at once, the others later and in order") {
  Scene scene;
  for (size_t i = 0; i < kMany; ++i) scene.wait({"k"});
  scene.table.set("k", "v");
  const auto first = scene.table.take_woken(0);
  CHECK(first.size() == Table::kWokenAtOnce);
  CHECK(first.front().moment == nullptr);
  CHECK(scene.take_all_in_order(100, first.size()) == kMany - first.size());
  CHECK(scene.table.waiters() == 0);
}

TEST_CASE("who is woken later gets what was there then, whatever was written since") {
  Scene scene;
  for (size_t i = 0; i < kMany; ++i) scene.wait({"k"});
  const uint64_t version = scene.table.set("k", "of then");
  scene.table.take_woken(0);
  scene.table.set("k", "of now");
  CHECK(scene.table.take_woken(1).front().moment->bytes == Bytes("of then"));
  scene.table.erase("k");
  size_t count = 0;
  while (scene.table.has_ripe()) {
    for (const Table::Woken& woken : scene.table.take_woken(50)) {
      REQUIRE(woken.moment->bytes == Bytes("of then"));
      REQUIRE(woken.moment->version == version);
      ++count;
    }
  }
  CHECK(count == kMany - Table::kWokenAtOnce - 1);
}

TEST_CASE("whoever does not ask for parts gets all at once") {
  Scene scene;
  for (size_t i = 0; i < kMany; ++i) scene.wait({"k"});
  scene.table.set("k", "v");
  CHECK(scene.table.take_woken().size() == kMany);
  CHECK_FALSE(scene.table.has_ripe());
}

TEST_CASE("who waits for several keys wakes later only if all are there then") {
  Scene scene;
  for (size_t i = 0; i < kMany; ++i) scene.wait({"a", "b"});
  scene.table.set("b", "");
  CHECK(scene.table.take_woken().empty());
  scene.table.set("a", "");
  const size_t first = scene.table.take_woken(0).size();
  CHECK(first == Table::kWokenAtOnce);
  scene.table.erase("b");
  while (scene.table.has_ripe()) CHECK(scene.table.take_woken(100).empty());
  CHECK(scene.table.waiters() == kMany - first);
  scene.table.set("b", "");
  CHECK(scene.table.take_woken().size() == kMany - first);
}

TEST_CASE("many who miss another key are moved there in parts") {
  Scene scene;
  for (size_t i = 0; i < kMany; ++i) scene.wait({"a", "b"});
  scene.table.set("a", "");
  CHECK(scene.table.has_ripe());
  while (scene.table.has_ripe()) CHECK(scene.table.take_woken(100).empty());
  scene.table.set("b", "");
  CHECK(scene.table.take_woken().size() == kMany);
}

TEST_CASE("a group of one list is woken as it was, in parts") {
  Scene scene;
  auto keys = std::make_shared<WantedKeys>(std::vector<Bytes>{"a", "b"});
  for (size_t i = 0; i < kMany; ++i) scene.wait(keys, Need::kPresent);
  scene.table.set("a", "");
  CHECK(scene.table.take_woken(0).empty());
  scene.table.set("b", "");
  const size_t first = scene.table.take_woken(0).size();
  CHECK(first == Table::kWokenAtOnce);
  scene.table.erase("a");
  // Who comes now is none of them.
  CHECK_FALSE(scene.table.is_awaited(keys, Need::kPresent));
  scene.wait(keys, Need::kPresent);
  CHECK(scene.take_all_in_order(100, first) == kMany - first);
  CHECK(scene.table.waiters() == 1);
}

TEST_CASE("who goes before his turn is not woken, and nobody else is forgotten") {
  for (bool is_group : {false, true}) {
    Scene scene;
    auto keys = std::make_shared<WantedKeys>(std::vector<Bytes>{"a", "b"});
    scene.table.set("b", "");
    for (size_t i = 0; i < kMany; ++i) {
      is_group ? scene.wait(keys, Need::kPresent) : scene.wait({"a"});
    }
    scene.table.set("a", "");
    scene.table.take_woken(0);
    // The first, one amidst, the last; each in a group is another kind.
    for (size_t at : {size_t{256}, size_t{500}, kMany - 1}) scene.table.cancel(scene.waiters[at]);
    size_t count = 0;
    while (scene.table.has_ripe()) count += scene.table.take_woken(100).size();
    CHECK(count == kMany - Table::kWokenAtOnce - 3);
    CHECK(scene.table.waiters() == 0);
  }
}

TEST_CASE("whose time is over when his turn has not come is woken all the same") {
  for (bool is_group : {false, true}) {
    Scene scene;
    auto keys = std::make_shared<WantedKeys>(std::vector<Bytes>{"a", "b"});
    scene.table.set("b", "");
    for (size_t i = 0; i < kMany; ++i) {
      is_group ? scene.wait(keys, Need::kPresent) : scene.wait({"a"});
    }
    CHECK_FALSE(scene.table.take_ripe(scene.waiters[700]));
    scene.table.set("a", "");
    scene.table.take_woken(0);
    const auto taken = scene.table.take_ripe(scene.waiters[700]);
    REQUIRE(taken);
    CHECK(taken->tag == 700);
    size_t count = 0;
    while (scene.table.has_ripe()) count += scene.table.take_woken(100).size();
    CHECK(count == kMany - Table::kWokenAtOnce - 1);
  }
}

TEST_CASE("who waits for a change is told what was there then") {
  Scene scene;
  const auto known = static_cast<int64_t>(scene.table.set("k", "v"));
  for (size_t i = 0; i < kMany; ++i) scene.wait({"k"}, Need::kChange, known);
  scene.table.erase("k");
  scene.table.take_woken(0);
  scene.table.set("k", "v");
  while (scene.table.has_ripe()) {
    for (const Table::Woken& woken : scene.table.take_woken(100))
      REQUIRE(woken.moment->version == 0);
  }
  CHECK(scene.table.waiters() == 0);
}

TEST_CASE("one who pops is woken at once, however many were before him") {
  Scene scene;
  for (size_t i = 0; i < kMany; ++i) scene.wait({"q"}, Need::kPresent);
  scene.wait({"q"}, Need::kItem);
  scene.table.push("q", "item");
  const auto first = scene.table.take_woken(0);
  REQUIRE(first.size() >= 1);
  CHECK(first.front().tag == kMany);
  CHECK(first.front().item == "item");
}

TEST_CASE("an owner's waiters are dropped in parts") {
  Scene scene;
  for (size_t i = 0; i < kMany; ++i) scene.wait({"k"});
  CHECK_FALSE(scene.table.drop(scene.owner, 999));
  CHECK(scene.table.waiters() == 1);
  CHECK(scene.table.drop(scene.owner, 1));
}

TEST_CASE("who waits for very many keys is looked at in steps, and woken if all are there then") {
  Table table;
  Table::WaiterOwner owner;
  constexpr size_t kKeys = 5 * Table::kLookedAtOnce;
  std::vector<std::string> names;
  std::vector<Bytes> views;
  for (size_t i = 0; i < kKeys; ++i) names.push_back("k" + std::to_string(i));
  for (const std::string& name : names) views.push_back(name);
  for (size_t i = 1; i < kKeys; ++i) table.set(names[i], "v");
  const auto keys = std::make_shared<WantedKeys>(views);
  const auto woken_in_steps = [&] {
    size_t steps = 0;
    for (; table.has_ripe(); ++steps) {
      if (table.take_woken(1).size() == 1) return steps + 1;
    }
    return size_t{0};
  };
  REQUIRE(table.wait(owner, 1, keys, Table::Need::kValue) != nullptr);
  table.set(names[0], "v");
  CHECK(table.take_woken(0).empty());
  CHECK(woken_in_steps() >= 5);
  CHECK(owner.waiters() == 0);

  // One goes while the others are looked at.
  table.erase(names[0]);
  REQUIRE(table.wait(owner, 2, keys, Table::Need::kValue) != nullptr);
  table.set(names[0], "v");
  table.take_woken(0);
  table.take_woken(1);
  table.erase(names[1]);
  CHECK(woken_in_steps() == 0);
  CHECK(owner.waiters() == 1);
  table.set(names[1], "v");
  table.take_woken(0);
  CHECK(woken_in_steps() >= 5);
}
