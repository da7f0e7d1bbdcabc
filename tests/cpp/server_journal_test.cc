// Every change of what a server keeps passes through ServerState::apply: what was recorded there,
// made again on an empty state, gives the same keys, values, versions, queues, times and runs.
#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core_world.h"
#include "server/state.h"

using namespace rdzv;
using namespace rdzv::test;
using std::chrono::milliseconds;

namespace {

// Keeps copies of all changes.
class Recorded final : public Journal {
 public:
  void record(const Change& change, const Moment& time) override {
    kinds.insert(change.index());
    std::visit([&](const auto& one) { entries_.emplace_back(time, copy(one)); }, change);
  }
  void replay(ServerState& state) const {
    for (const auto& [time, make] : entries_) make(state, time);
  }
  size_t size() const { return entries_.size(); }

  std::set<size_t> kinds;

 private:
  using Make = std::function<void(ServerState&, const Moment&)>;
  using Text = std::string;

  static Make copy(const change::Set& c) {
    return [key = Text(c.key), value = Text(c.value)](auto& state, const Moment& time) {
      state.apply(change::Set{key, value}, time);
    };
  }
  static Make copy(const change::SetFor& c) {
    return [key = Text(c.key), value = Text(c.value), ttl = c.ttl](auto& state, auto& time) {
      state.apply(change::SetFor{key, value, ttl}, time);
    };
  }
  static Make copy(const change::Append& c) {
    return [key = Text(c.key), value = Text(c.value)](auto& state, auto& time) {
      state.apply(change::Append{key, value}, time);
    };
  }
  static Make copy(const change::MultiSet& c) {
    return [pairs = std::vector<Text>(c.pairs.begin(), c.pairs.end())](auto& state, auto& time) {
      state.apply(change::MultiSet{std::vector<Bytes>(pairs.begin(), pairs.end())}, time);
    };
  }
  static Make copy(const change::CompareSet& c) {
    return [key = Text(c.key), expected = Text(c.expected), desired = Text(c.desired)](auto& state,
                                                                                       auto& time) {
      state.apply(change::CompareSet{key, expected, desired}, time);
    };
  }
  static Make copy(const change::SetIfVersion& c) {
    return
        [key = Text(c.key), value = Text(c.value), version = c.version](auto& state, auto& time) {
          state.apply(change::SetIfVersion{key, value, version}, time);
        };
  }
  static Make copy(const change::Add& c) {
    return [key = Text(c.key), amount = c.amount](auto& state, auto& time) {
      state.apply(change::Add{key, amount}, time);
    };
  }
  static Make copy(const change::Erase& c) {
    return [key = Text(c.key)](auto& state, auto& time) { state.apply(change::Erase{key}, time); };
  }
  static Make copy(const change::EraseWalked& c) {
    return [walk = c.walk, max = c.max, version = c.version](auto& state, auto& time) {
      state.apply(change::EraseWalked{walk, max, version}, time);
    };
  }
  static Make copy(const change::Expire& c) {
    return [c](auto& state, auto& time) { state.apply(c, time); };
  }
  static Make copy(const change::Push& c) {
    return [key = Text(c.key), item = Text(c.item)](auto& state, auto& time) {
      state.apply(change::Push{key, item}, time);
    };
  }
  static Make copy(const change::Pop& c) {
    return [key = Text(c.key)](auto& state, auto& time) { state.apply(change::Pop{key}, time); };
  }
  static Make copy(const change::Unpop& c) {
    return [key = Text(c.key), item = Text(c.item)](auto& state, auto& time) {
      state.apply(change::Unpop{key, item}, time);
    };
  }
  static Make copy(const change::JoinRun& c) {
    return [run = Text(c.run), node = c.node, settings = c.settings, after_round = c.after_round](
               auto& state, auto& time) {
      state.apply(change::JoinRun{run, node, settings, after_round}, time);
    };
  }
  static Make copy(const change::ResumeRun& c) {
    return [run = Text(c.run), node = c.node, settings = c.settings, round = c.round, rank = c.rank,
            world_size = c.world_size](auto& state, auto& time) {
      state.apply(change::ResumeRun{run, node, settings, round, rank, world_size}, time);
    };
  }
  static Make copy(const change::LeaveRun& c) {
    return [run = Text(c.run), node = c.node, failed = c.failed, ending = c.ending,
            is_final = c.do_not_restart](auto& state, auto& time) {
      state.apply(change::LeaveRun{run, node, failed, ending, is_final}, time);
    };
  }
  static Make copy(const change::ExpireRun& c) {
    return [run = Text(c.run), max = c.max](auto& state, auto& time) {
      state.apply(change::ExpireRun{run, max}, time);
    };
  }
  static Make copy(const change::CloseRun& c) {
    return [run = Text(c.run), reason = c.reason, is_final = c.do_not_restart](auto& state,
                                                                               auto& time) {
      state.apply(change::CloseRun{run, reason, is_final}, time);
    };
  }
  static Make copy(const change::ForgetRun& c) { return of_run<change::ForgetRun>(c.run); }
  static Make copy(const change::KeepAlive& c) { return of_node<change::KeepAlive>(c.run, c.node); }
  static Make copy(const change::DropNode& c) { return of_node<change::DropNode>(c.run, c.node); }
  template <typename Of>
  static Make of_run(Bytes run) {
    return [run = Text(run)](auto& state, auto& time) { state.apply(Of{run}, time); };
  }
  template <typename Of>
  static Make of_node(Bytes run, const NodeId& node) {
    return [run = Text(run), node](auto& state, auto& time) { state.apply(Of{run, node}, time); };
  }

  std::vector<std::pair<Moment, Make>> entries_;
};

// All that is kept, in an order of its own.
std::map<std::string, std::string> described(const ServerState& state) {
  std::map<std::string, std::string> all;
  const auto number = [](Instant at) { return std::to_string(at.time_since_epoch().count()); };
  all.emplace("version", std::to_string(state.table().version()));
  state.table().for_each_value([&](Bytes key, const Table::Value& value, auto expires_at) {
    all.emplace("key " + std::string(key), std::string(Bytes(value.bytes)) + " version " +
                                               std::to_string(value.version) + " until " +
                                               (expires_at ? number(*expires_at) : "ever"));
  });
  std::map<std::string, std::string> queues;
  state.table().for_each_item(
      [&](Bytes key, Bytes item) { queues["queue " + std::string(key)].append(item).append(" "); });
  all.insert(queues.begin(), queues.end());
  state.for_each_run([&](Bytes id, const Group& group) {
    const auto next = group.next_deadline();
    all.emplace("run " + std::string(id),
                group.encode() + " looks at " + (next ? number(*next) : "nothing"));
  });
  return all;
}

void check_replay(const Recorded& journal, const ServerState& state) {
  ServerState replayed(HashSeed{3, 4}, 0, 0);
  journal.replay(replayed);
  CHECK((described(replayed) == described(state)));
}

template <size_t... kIndex>
std::set<size_t> kinds_but_unpop(std::index_sequence<kIndex...>) {
  constexpr auto is_unpop = [](size_t index) { return index == Change(change::Unpop{}).index(); };
  std::set<size_t> all{kIndex...};
  std::erase_if(all, is_unpop);
  return all;
}

}  // namespace

TEST_CASE("what a journal was told of every operation makes the same state again") {
  World world;
  Recorded journal;
  world.core.keep_journal(&journal);
  play(world);
  CHECK(described(world.core.state()).size() > 5);
  check_replay(journal, world.core.state());

  // Times that are over: nodes fall silent, a run that nobody is in is forgotten.
  MemoryPeer& c = world.newcomer("10.0.3.1:1");
  const native::RunSettings settings{1, 1, 1000, 1000, 3};
  const native::RunNode node{{"alone"}, 1, 0};
  c.ask(native::JoinRequest{native::kNoTimeout, {"short"}, node, settings, 0, 500, 1});
  c.ask(native::SetForRequest{50, {"/soon"}, {"gone"}});
  c.ask(native::QueuePushRequest{{"/kept"}, {"one"}});
  c.ask(native::QueuePushRequest{{"/kept"}, {"two"}});
  CHECK(world.core.state().run("short") != nullptr);
  check_replay(journal, world.core.state());
  for (int i = 0; i < 20; ++i) world.wait(milliseconds(500));
  CHECK(world.core.state().run("short")->state().roster.size() == 0);
  world.wait(std::chrono::hours(24));
  CHECK(world.core.state().run("short") == nullptr);
  check_replay(journal, world.core.state());
  CHECK(journal.kinds == kinds_but_unpop(std::make_index_sequence<std::variant_size_v<Change>>()));
}

TEST_CASE("an item that comes to one who waits, and that he gives back, is recorded as both") {
  ServerState state(HashSeed{1, 2}, 0, 0);
  Recorded journal;
  state.keep_journal(&journal);
  Table::WaiterOwner owner;
  const Moment time;
  const auto wait = [&] { state.view().wait(owner, 0, {"/q"}, Table::Need::kItem); };
  wait();
  CHECK(state.apply(change::Push{"/q", "one"}, time).is_taken);
  const std::vector<Table::Woken> woken = state.view().take_woken();
  REQUIRE(woken.size() == 1);
  check_replay(journal, state);
  CHECK_FALSE(state.apply(change::Push{"/q", "two"}, time).is_taken);
  CHECK_FALSE(state.apply(change::Unpop{"/q", *woken[0].item}, time).is_taken);
  CHECK(*state.table().front("/q") == "one");
  check_replay(journal, state);
}

TEST_CASE("a change that is refused is not recorded, and changes nothing") {
  ServerState state(HashSeed{1, 2}, 0, 0);
  Recorded journal;
  state.keep_journal(&journal);
  const Moment time;
  const NodeId node{"host", 1, 0};
  CHECK_THROWS_AS(state.apply(change::JoinRun{"run", node, {0, 0}, 0}, time), Error);
  CHECK(state.run("run") == nullptr);
  CHECK(state.table().size() == 0);
  CHECK(journal.size() == 0);
  state.apply(change::Set{"/torch.rendezvous.run", "another's"}, time);
  CHECK_THROWS_AS(state.apply(change::CloseRun{"run"}, time), Error);
  CHECK(state.run("run") == nullptr);
  check_replay(journal, state);
}
