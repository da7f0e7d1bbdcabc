// Queues of the table: what is in them, and which waiter is woken by an item or by a count.
#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "store/table.h"
#include "table_play.h"

using namespace rdzv;
using rdzv::test::Play;
using Need = Table::Need;

TEST_CASE("a queue gives its items in the order they were pushed") {
  Play play;
  for (Bytes item : {"1", "", "3"}) play.table.push("q", item);
  play.table.push("r", "other");
  CHECK(play.table.queue_size("q") == 3);
  CHECK(*play.table.front("q") == "1");
  for (Bytes item : {"1", "", "3"}) CHECK(play.pop("q") == item);
  CHECK(play.pop("q") == "(none)");
  CHECK(play.table.front("q") == nullptr);
  CHECK(play.table.queue_size("q") == 0);
  CHECK(play.pop("r") == "other");
}

TEST_CASE("an item that is put back is the first again") {
  Play play;
  play.table.push("q", "1");
  play.table.push("q", "2");
  CHECK(play.pop("q") == "1");
  play.table.unpop("q", "1");
  CHECK(play.table.queue_size("q") == 2);
  CHECK(play.pop("q") == "1");
  CHECK(play.pop("q") == "2");
  play.table.unpop("q", "2");
  CHECK(play.pop("q") == "2");
}

TEST_CASE("queues and values are two name spaces") {
  Play play;
  play.table.push("k", "item");
  CHECK(play.value("k") == "(none)");
  CHECK(play.table.size() == 0);
  play.table.for_each_key([](Bytes) { FAIL("a queue is no key"); });
  CHECK_FALSE(play.table.erase("k"));
  CHECK_FALSE(play.table.is_new());
  play.table.set("k", "value");
  CHECK(play.pop("k") == "item");
  CHECK(play.value("k") == "value");
}

TEST_CASE("for_each_item visits each queue's items in order") {
  Play play;
  for (Bytes item : {"1", "2", "3"}) {
    play.table.push("a", item);
    play.table.push("b", item);
  }
  std::map<std::string, std::string> seen;
  play.table.for_each_item([&](Bytes key, Bytes item) { seen[std::string(key)] += item; });
  CHECK(seen == std::map<std::string, std::string>{{"a", "123"}, {"b", "123"}});
}

TEST_CASE("what is there depends on the need") {
  Play play;
  play.table.push("queue", "item");
  play.table.set("value", "5");
  auto met = [&](Bytes key, Need need, int64_t target = 0) {
    return !play.wait('a', {key}, need, target);
  };
  for (Need need : {Need::kPresent, Need::kTurn, Need::kQueue, Need::kItem})
    CHECK(met("queue", need));
  for (Need need : {Need::kValue, Need::kCount}) CHECK_FALSE(met("queue", need));
  for (Need need : {Need::kPresent, Need::kTurn, Need::kValue}) CHECK(met("value", need));
  for (Need need : {Need::kQueue, Need::kItem}) CHECK_FALSE(met("value", need));
  CHECK(met("value", Need::kCount, 5));
  CHECK_FALSE(met("value", Need::kCount, 6));
  CHECK(play.table.has_all({"queue", "value"}));
  CHECK_FALSE(play.table.has_all({"queue", "value"}, Need::kValue));
}

TEST_CASE("a push gives its item to the first who waits for one") {
  Play play;
  for (char owner : {'a', 'b', 'a'}) play.wait(owner, {"q"}, Need::kItem);
  play.table.push("q", "1");
  CHECK(play.woken() == "1=1");
  CHECK(play.table.queue_size("q") == 0);
  play.table.push("q", "2");
  play.table.push("q", "3");
  CHECK(play.woken() == "2=2 3=3");
  play.table.push("q", "4");
  CHECK(play.woken() == "");
  CHECK(play.pop("q") == "4");
}

TEST_CASE("an item that was taken by its waiter wakes nobody else") {
  Play play;
  for (Need need : {Need::kPresent, Need::kTurn, Need::kQueue, Need::kItem})
    play.wait('a', {"q"}, need);
  play.table.push("q", "1");
  CHECK(play.woken() == "4=1");
  CHECK(play.table.waiters() == 3);
  play.table.push("q", "2");
  CHECK(play.woken() == "3 1 2");
}

TEST_CASE("an item that is put back goes to the next who waits for one") {
  Play play;
  play.wait('a', {"q"}, Need::kItem);
  play.wait('b', {"q"}, Need::kItem);
  play.table.push("q", "1");
  CHECK(play.woken() == "1=1");
  play.table.unpop("q", "1");
  CHECK(play.woken() == "2=1");
}

TEST_CASE("a push wakes all who wait for a queue or for anything, but gives only one a turn") {
  Play play;
  for (Need need : {Need::kTurn, Need::kPresent, Need::kTurn, Need::kPresent, Need::kQueue,
                    Need::kQueue, Need::kValue, Need::kCount})
    play.wait('a', {"q"}, need);
  play.table.push("q", "1");
  CHECK(play.woken() == "5 6 2 4 1");
  CHECK(play.pop("q") == "1");
  play.table.push("q", "2");
  CHECK(play.woken() == "3");
  CHECK(play.table.waiters() == 2);
}

TEST_CASE("a value wakes all who wait for their turn, and nobody who waits for a queue") {
  Play play;
  for (Need need : {Need::kTurn, Need::kQueue, Need::kTurn, Need::kItem})
    play.wait('a', {"k"}, need);
  play.table.set("k", "");
  CHECK(play.woken() == "1 3");
  CHECK(play.table.waiters() == 2);
}

TEST_CASE("a turn that is passed on wakes the next, while there is an item") {
  Play play;
  for (int i = 0; i < 3; ++i) play.wait('a', {"q"}, Need::kTurn);
  play.table.pass_turn("q");
  CHECK(play.woken() == "");
  play.table.push("q", "1");
  CHECK(play.woken() == "1");
  play.table.pass_turn("q");
  CHECK(play.woken() == "2");
  CHECK(play.pop("q") == "1");
  play.table.pass_turn("q");
  play.table.pass_turn("other");
  CHECK(play.woken() == "");
  CHECK(play.table.waiters() == 1);
}

TEST_CASE("a wait for a queue and a key ends when both are there") {
  Play play;
  play.wait('a', {"q", "k"});
  play.table.push("q", "1");
  CHECK(play.woken() == "");
  CHECK(play.table.missing_keys(*play.parked[1]) == std::vector<Bytes>{"k"});
  play.table.set("k", "");
  CHECK(play.woken() == "1");
}

TEST_CASE("a queue that is emptied before the key comes is waited for again") {
  Play play;
  play.wait('a', {"q", "k"});
  play.table.push("q", "1");
  play.pop("q");
  play.table.set("k", "");
  CHECK(play.woken() == "");
  CHECK(play.table.missing_keys(*play.parked[1]) == std::vector<Bytes>{"q"});
  play.table.push("q", "2");
  CHECK(play.woken() == "1");
}

TEST_CASE("a woken waiter is not listed any more") {
  Play play;
  for (Need need : {Need::kPresent, Need::kTurn, Need::kQueue, Need::kItem, Need::kCount}) {
    play.wait('a', {"k"}, need);
    play.table.push("k", "1");
    play.table.set("k", "1");
    CHECK(play.woken() != "");
    play.pop("k");
    play.table.erase("k");
    play.table.push("k", "2");
    play.table.set("k", "2");
    CHECK(play.woken() == "");
    CHECK(play.table.waiters() == 0);
    play.pop("k");
    play.table.erase("k");
  }
}

TEST_CASE("a count wakes those whose target it reaches, smallest first") {
  Play play;
  for (int64_t target : {3, 1, 2, 3, 1}) play.wait('a', {"n"}, Need::kCount, target);
  play.table.add("n", 1);
  CHECK(play.woken() == "2 5");
  play.table.add("n", 1);
  CHECK(play.woken() == "3");
  play.table.add("n", 5);
  CHECK(play.woken() == "1 4");
}

TEST_CASE("every write can reach a count, and what is no number does not") {
  Play play;
  auto wait = [&] { play.wait('a', {"n"}, Need::kCount, 10); };
  wait();
  play.table.set("n", "word");
  CHECK(play.woken() == "");
  play.table.set("n", "9");
  play.table.multi_set({"n", "1"});
  CHECK(play.woken() == "");
  play.table.append("n", "0");
  CHECK(play.woken() == "1");
  play.table.set("n", "1");
  wait();
  play.table.compare_set("n", "1", "11");
  CHECK(play.woken() == "2");
  play.table.erase("n");
  wait();
  play.table.multi_set({"n", "12"});
  CHECK(play.woken() == "3");
}

TEST_CASE("cancel and drop end waits of every need") {
  for (Need need : {Need::kPresent, Need::kTurn, Need::kValue, Need::kQueue, Need::kItem}) {
    Play play;
    for (char owner : {'a', 'b', 'a', 'a', 'b'}) play.wait(owner, {"k"}, need);
    play.table.cancel(play.parked[1]);
    play.table.drop(play.owners['b']);
    CHECK(play.table.waiters() == 2);
    play.table.cancel(play.parked[4]);
    if (need != Need::kValue) play.table.push("k", "1");
    play.table.set("k", "1");
    CHECK(play.woken().starts_with("3"));
    CHECK(play.table.waiters() == 0);
  }
}

TEST_CASE("who waits for a count is cancelled wherever he stands") {
  Play play;
  for (int64_t target : {4, 2, 3, 1}) play.wait('a', {"n"}, Need::kCount, target);
  play.table.cancel(play.parked[3]);
  play.table.cancel(play.parked[4]);
  play.table.add("n", 4);
  CHECK(play.woken() == "2 1");
}

TEST_CASE("no item is lost or given twice, whoever takes it how") {
  std::mt19937 random(5);
  Play play;
  size_t pushed = 0, taken = 0;
  std::vector<bool> seen;
  auto take = [&](const std::string& item) {
    REQUIRE_FALSE(seen[std::stoul(item)]);
    seen[std::stoul(item)] = true;
    ++taken;
  };
  for (int step = 0; step < 20'000; ++step) {
    switch (random() % 5) {
      case 0:
      case 1:
        play.table.push("q", std::to_string(pushed++));
        seen.push_back(false);
        break;
      case 2:
        if (auto item = play.table.pop("q")) take(*item);
        break;
      case 3:
        play.wait('a', {"q"}, Need::kItem);
        break;
      default:
        if (random() % 8 == 0) play.table.drop(play.owners['a']);
    }
    for (const Table::Woken& woken : play.table.take_woken()) {
      if (random() % 4 == 0) {
        play.table.unpop("q", *woken.item);
      } else {
        take(*woken.item);
      }
    }
    for (const Table::Woken& woken : play.table.take_woken()) take(*woken.item);
    REQUIRE(taken + play.table.queue_size("q") == pushed);
  }
}
