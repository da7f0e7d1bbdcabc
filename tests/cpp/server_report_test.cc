// What a server tells the program that runs it: counters, name spaces, runs with their nodes.
#include <doctest/doctest.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "core_world.h"
#include "server/run_report.h"

using namespace rdzv;
using namespace rdzv::test;
using std::chrono::milliseconds;

namespace {

constexpr native::RunSettings kPair{2, 2, 30'000, 3'600'000, 3, RankBy::kAddress, false, false};

ServerReport report(World& world, std::optional<uint64_t> after = 0) {
  return world.core.look(world.time,
                         [&](ServerCommons& commons) { return report_of(commons, after); });
}

std::optional<RunReport> report_of_run(World& world, const RunQuestion& question) {
  return world.core.look(
      world.time, [&](ServerCommons& commons) { return rdzv::report_of_run(commons, question); });
}

size_t join(MemoryPeer& peer, Bytes name) {
  return peer.ask(native::JoinRequest{native::kNoTimeout, {"run"}, {name, 1, 0}, kPair, 0, 500, 1});
}

std::string names(const std::vector<RunReport::Member>& members) {
  std::string text;
  for (const auto& [node, rank, silent] : members)
    text += node.addr + "/" + (rank == kNoRank ? "-" : std::to_string(rank)) + " ";
  return text;
}

}  // namespace

TEST_CASE("a run's report has its nodes, their ranks and its last events") {
  World world;
  MemoryPeer& a = world.newcomer("10.0.0.1:1");
  MemoryPeer& b = world.newcomer("10.0.0.2:1");
  MemoryPeer& c = world.newcomer("10.0.0.3:1");
  CHECK_FALSE(report_of_run(world, {"default", "run", 10}));
  join(b, "host2");
  auto found = report_of_run(world, {"default", "run", 10});
  REQUIRE(found);
  CHECK(names(found->participants) == "host2/- ");
  CHECK_FALSE(found->run.complete);
  CHECK(found->settings->min_nodes == 2);
  join(a, "host1");
  join(c, "host3");
  found = report_of_run(world, {"default", "run", 2});
  REQUIRE(found);
  CHECK(found->run.complete);
  CHECK(found->world_size == 2);
  CHECK(names(found->participants) == "host1/0 host2/1 ");
  CHECK(names(found->waiting) + names(found->spares) == "host3/- ");
  CHECK(found->run.happened.events.size() == 2);
  CHECK(found->serial == found->run.happened.events.back().serial);
  CHECK_FALSE(report_of_run(world, {"other", "run", 10}));
  a.lose();
  world.wait(milliseconds(600));
  found = report_of_run(world, {"default", "run", 0});
  REQUIRE(found);
  CHECK(names(found->lost) == "host1/- ");
  CHECK_FALSE(found->lost.front().silent);
  CHECK(found->participants.front().silent >= milliseconds(600));
  CHECK(found->run.happened.events.empty());
}

TEST_CASE("a report tells what of one name space only that one has") {
  World world;
  MemoryPeer& a = world.member("a");
  a.answer<native::SetRequest>(a.ask(native::SetRequest{{"/k"}, {"v"}}));
  const auto value = [&](Bytes space, Bytes key) {
    return world.core.look(world.time,
                           [&](ServerCommons& commons) { return value_of(commons, space, key); });
  };
  CHECK(value("a", "/k") == std::optional<std::string>("v"));
  CHECK_FALSE(value("a", "/other"));
  CHECK_FALSE(value("default", "/k"));
  CHECK_FALSE(value("none", "/k"));
  const auto states = [&](Bytes space) {
    return world.core.look(world.time, [&](ServerCommons& commons) {
      return host_states_of(commons, space, {"10.1.0.1", "10.9.9.9"});
    });
  };
  using native::HostState;
  CHECK((states("a") == std::vector{HostState::kIs, HostState::kNever}));
  CHECK((states("default") == std::vector{HostState::kNever, HostState::kNever}));
}

TEST_CASE("a report counts who came by TLS, and who was ended for want of memory") {
  ServerLimits limits;
  limits.input_bytes = 1000;
  World world(limits);
  world.newcomer("10.0.0.1:1");
  MemoryPeer& greedy = world.member("a");
  CHECK(report(world).counters.connections == 2);
  CHECK(report(world).counters.secured == 1);
  CHECK(report(world).counters.evictions == 0);
  // The beginning of a request that is larger than all may have.
  std::string frame = native_frame(native::Operation::kSet, 7, std::string(5000, 'x'));
  greedy.send(Bytes(frame).substr(0, 4000));
  CHECK(report(world).counters.evictions == 1);
  const ServerReport found = report(world);
  CHECK(found.memory.input + found.memory.parked + found.memory.unsent + found.memory.runs +
            found.memory.stored + found.memory.sessions ==
        found.used_bytes);
}
