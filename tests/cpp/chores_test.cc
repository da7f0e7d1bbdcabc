// Work that is left for later turns, and the budget that bounds it.
#include "server/chores.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

using namespace rdzv;

namespace {

struct Counted final : Chore {
  Counted(std::string& log, char name, size_t parts) : log_(log), name_(name), left(parts) {}
  bool work(Budget& budget) override {
    log_ += name_;
    budget.spend(Budget::kChoreSlice);
    return --left == 0;
  }

  std::string& log_;
  char name_;
  size_t left;
};

}  // namespace

TEST_CASE("a budget tells what was spent beyond it") {
  Budget budget;
  budget.give(10);
  budget.spend(4);
  CHECK_FALSE(budget.is_spent());
  CHECK(budget.good_for(3) == 2);
  CHECK(budget.overdrawn() == 0);
  budget.spend(100);
  CHECK(budget.is_spent());
  CHECK(budget.good_for(3) == 1);
  CHECK(budget.spent() == 104);
  CHECK(budget.overdrawn() == 94);
  budget.give(1);
  CHECK(budget.overdrawn() == 0);
}

TEST_CASE("chores have a slice each, in turn, until the units are spent") {
  Budget budget;
  Chores chores(budget);
  std::string log;
  Counted a(log, 'a', 3);
  Counted b(log, 'b', 1);
  Counted c(log, 'c', 2);
  for (Chore* each : {static_cast<Chore*>(&a), static_cast<Chore*>(&b), static_cast<Chore*>(&c)})
    chores.begin(*each);
  chores.begin(a);  // it is there already
  CHECK(chores.work(2 * Budget::kChoreSlice));
  CHECK(log == "ab");
  CHECK(chores.work(2 * Budget::kChoreSlice));
  CHECK(log == "abca");
  CHECK_FALSE(chores.work(SIZE_MAX));
  CHECK(log == "abcaca");
  CHECK(chores.empty());
}

TEST_CASE("a chore that goes is not done any more, and one may end by its own work") {
  struct Going final : Chore {
    explicit Going(std::unique_ptr<Going>& owner) : owner_(owner) {}
    bool work(Budget&) override {
      owner_.reset();
      return true;
    }
    std::unique_ptr<Going>& owner_;
  };
  Budget budget;
  Chores chores(budget);
  std::string log;
  auto gone = std::make_unique<Counted>(log, 'a', 1);
  chores.begin(*gone);
  gone.reset();
  CHECK_FALSE(chores.work(100));
  std::unique_ptr<Going> going;
  going = std::make_unique<Going>(going);
  chores.begin(*going);
  CHECK_FALSE(chores.work(100));
  CHECK(going == nullptr);
  CHECK(log.empty());
}
