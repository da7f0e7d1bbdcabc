// A real server that keeps a run's rendezvous: joining, completing, leaving, closing, timeouts.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "run_scene.h"
#include "wire/limits.h"

using namespace rdzv;
using namespace rdzv::test;
using native::JoinOutcome;
using native::kNoTimeout;
using native::MemberList;
using native::Operation;
using native::RunRole;
using native::RunSettings;

TEST_CASE("runs: nodes are placed when the round is complete, all with one answer") {
  Server server("127.0.0.1", 0);
  RunNodePeer host10(server.port(), "host10");
  RunNodePeer host2(server.port(), "host2");
  host10.join_and_wait();
  CHECK(host10.status().role == RunRole::kForming);
  host2.join();
  for (RunNodePeer* peer : {&host10, &host2}) {
    const RunNodePeer::Joined joined = peer->joined();
    CHECK(joined.reply.outcome == JoinOutcome::kPlaced);
    CHECK(joined.reply.round == 1);
    CHECK(joined.reply.world_size == 2);
    CHECK(joined.reply.rank == (peer == &host2 ? 0 : 1));
    CHECK(joined.first == "host2");
    CHECK(joined.reply.first.pid == 1);
    CHECK(joined.reply.changes == 0);
  }
  CHECK(host2.members(MemberList::kParticipants) == "2: host2/0 host10/1");
}

TEST_CASE("runs: a last call ends without anybody asking, and completes the round") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a", RunSettings{1, 2, 20, 5'000, 3});
  a.join();
  CHECK(a.joined().reply.world_size == 1);
  RunNodePeer b(server.port(), "b", RunSettings{1, 2, 60'000, 5'000, 3});
  CHECK(b.status().last_call_left_ms == native::kNoLastCall);
}

TEST_CASE("runs: status says how a round forms") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a", RunSettings{1, 3, 60'000, 5'000, 3});
  CHECK_FALSE(a.status().known);
  a.join_and_wait();
  const native::StatusReply status = a.status();
  CHECK(status.known);
  CHECK(status.round == 1);
  CHECK_FALSE(status.complete);
  CHECK(status.participants == 1);
  CHECK(status.has_settings);
  CHECK(status.settings.max_nodes == 3);
  CHECK(status.settings.last_call_ms == 60'000);
  CHECK(status.last_call_left_ms <= 60'000);
  CHECK(status.last_call_left_ms > 0);
  CHECK(status.role == RunRole::kForming);
  CHECK(status.rank == native::kNoRank);
}

TEST_CASE("runs: a node whose time is over has left, and is told who was there") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a", RunSettings{3, 4, 30'000, 5'000, 3});
  RunNodePeer b(server.port(), "b", RunSettings{3, 4, 30'000, 5'000, 3});
  a.join_and_wait();
  b.join(0, 20);
  NativePeer::Answer answer = b.failed();
  CHECK(answer.status == ErrorCode::kTimeout);
  CHECK(answer.message() ==
        "run 'r': 2 of at least 3 (at most 4) nodes joined within 0.02 s: a (pid 1), b (pid 1); "
        "start the missing nodes with the same run id and endpoint, wait longer, or lower "
        "min_nodes");
  CHECK(a.members(MemberList::kParticipants) == "1: a/-");
  CHECK_FALSE(b.keep_alive().known);
}

TEST_CASE("runs: nodes whose time is over together are told of each other") {
  Server server("127.0.0.1", 0);
  NativePeer peer(server.port());
  std::string requests;
  for (uint32_t i = 0; i < 3; ++i) {
    const std::string addr(1, static_cast<char>('a' + i));
    std::string body;
    native::put(body, native::JoinRequest{20, "r", run_node(addr),
                                          RunSettings{4, 4, 30'000, 5'000, 3}, 0, 0, i});
    requests += native_frame(Operation::kJoin, i, body);
  }
  peer.send(requests);
  for (int i = 0; i < 3; ++i) {
    CHECK(peer.receive_answer().message().starts_with(
        "run 'r': 3 of at least 4 (at most 4) nodes joined within 0.02 s: a (pid 1), b (pid 1), "
        "c"));
  }
}

TEST_CASE("runs: a late node whose time is over is told which round it waited for") {
  Server server("127.0.0.1", 0);
  const RunSettings settings{1, 2, 1, 5'000, 3};
  RunNodePeer a(server.port(), "a", settings);
  RunNodePeer late(server.port(), "late", settings);
  a.join();
  a.joined();
  late.join(0, 20);
  CHECK(late.failed().message() ==
        "run 'r': round 1 did not end within 0.02 s; it runs with a (pid 1); wait longer, or check "
        "why its nodes do not start the next round");
  CHECK(a.keep_alive().changes == 0);
}

TEST_CASE("runs: of many nodes some are named, and the lost ones, too") {
  Server server("127.0.0.1", 0);
  const RunSettings settings{30, 30, 30'000, 3'600'000, 3};
  std::vector<std::unique_ptr<RunNodePeer>> peers;
  for (int i = 10; i < 29; ++i) {
    peers.push_back(
        std::make_unique<RunNodePeer>(server.port(), "n" + std::to_string(i), settings));
    peers.back()->join_and_wait();
  }
  peers.back().reset();
  while (peers.front()->status().lost == 0) continue;
  RunNodePeer last(server.port(), "z", settings);
  last.join(0, 20);
  const std::string message = last.failed().message();
  CHECK(message.find("n10 (pid 1), n11 (pid 1)") != std::string::npos);
  CHECK(message.find("n25 (pid 1) and 3 more; lost: n28 (pid 1);") != std::string::npos);
}

TEST_CASE("runs: a join that may not wait is placed now or never") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a");
  a.join(0, 0);
  CHECK(a.failed().status == ErrorCode::kTimeout);
  RunNodePeer alone(server.port(), "alone", RunSettings{1, 1, 30'000, 5'000, 3});
  alone.join(0, 0, 0, "other");
  CHECK(alone.joined().reply.world_size == 1);
}

TEST_CASE("runs: who leaves is not listed, and its own join is answered") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a");
  RunNodePeer other(server.port(), "a");
  CHECK_FALSE(a.leave());
  a.join_and_wait();
  CHECK(other.leave());
  CHECK(a.joined().reply.outcome == JoinOutcome::kDropped);
  CHECK_FALSE(a.leave());
  CHECK(a.status().role == RunRole::kAbsent);
}

TEST_CASE("runs: a cancelled join is not answered, and the node has left") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a");
  a.join_and_wait();
  a.send(native_cancel(5, a.join_id()));
  CHECK(a.status().role == RunRole::kAbsent);
}

TEST_CASE("runs: a late node waits for the next round, and gets it when the round breaks up") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a");
  RunNodePeer b(server.port(), "b");
  RunNodePeer c(server.port(), "c");
  a.join_and_wait();
  b.join();
  CHECK(a.joined().reply.round == 1);
  CHECK(b.joined().reply.round == 1);
  c.join_as_spare_and_wait();
  CHECK(c.status().role == RunRole::kSpare);
  CHECK(a.leave(true));
  CHECK(b.keep_alive().changes == 2);  // one is lost, and one waits in its place
  CHECK(c.joined().reply.outcome == JoinOutcome::kNoSpare);
  c.join();
  b.join(1);
  const RunNodePeer::Joined joined = b.joined();
  CHECK(joined.reply.round == 2);
  CHECK(joined.reply.rank == 0);
  CHECK(c.joined().reply.rank == 1);
}

TEST_CASE("runs: who waits when the job finishes is told so") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a", RunSettings{1, 1, 30'000, 5'000, 3});
  RunNodePeer spare(server.port(), "spare", RunSettings{1, 1, 30'000, 5'000, 3});
  a.join();
  a.joined();
  spare.join_as_spare_and_wait();
  a.leave();
  const RunNodePeer::Joined told = spare.joined();
  CHECK(told.reply.outcome == JoinOutcome::kFinished);
  CHECK(told.reply.round == 1);
  CHECK(a.status().finished_round == 1);
}

TEST_CASE("runs: a closed run takes nobody, and who waits hears it at once") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a");
  RunNodePeer b(server.port(), "b");
  a.join_and_wait();
  b.close_run();
  NativePeer::Answer answer = a.failed();
  CHECK(answer.status == ErrorCode::kRunClosed);
  CHECK(answer.message() ==
        "run 'r': join of node a (pid 1): the run is closed; use another run id for a new job");
  b.join();
  CHECK(b.failed().status == ErrorCode::kRunClosed);
  CHECK(b.status().closed);
}

TEST_CASE("runs: what the rules refuse is an answer, and creates nothing") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a");
  RunNodePeer other(server.port(), "b", RunSettings{2, 3, 30'000, 5'000, 3});
  RunNodePeer nobody(server.port(), "");
  nobody.join();
  CHECK(nobody.failed().status == ErrorCode::kInvalidArgument);
  CHECK_FALSE(nobody.status().known);
  a.join(0, kNoTimeout, 0, "");
  CHECK(a.failed().message() ==
        "join: the run id is empty; give every node of the job the same run id");
  a.join_and_wait();
  other.join();
  NativePeer::Answer answer = other.failed();
  CHECK(answer.status == ErrorCode::kState);
  CHECK(answer.message().starts_with(
      "run 'r': join of node b (pid 1): the group has other settings"));
}

TEST_CASE("runs: a join sent again takes the place of the first") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a");
  RunNodePeer again(server.port(), "a");
  RunNodePeer b(server.port(), "b");
  a.join_and_wait();
  again.join_and_wait();
  NativePeer::Answer answer = a.failed();
  CHECK(answer.status == ErrorCode::kState);
  CHECK(answer.message() == "run 'r': join of node a (pid 1): the node joined again");
  CHECK_FALSE(a.keep_alive().known);
  b.join();
  CHECK(again.joined().reply.rank == 0);
  CHECK(b.joined().reply.rank == 1);
  RunNodePeer late(server.port(), "a");
  late.join();  // the answer of the first one was lost, say
  CHECK(late.joined().reply.rank == 0);
}

TEST_CASE("runs: a handle names one node, of one run") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a");
  a.join_and_wait();
  RunNodePeer b(server.port(), "b");
  a.send(native_frame(Operation::kJoin, 9, b.join_body(0, kNoTimeout, 0)));
  CHECK(a.failed().message() ==
        "join: handle 7 belongs to another node on this connection: a (pid 1) of run 'r'");
  a.send(native_frame(Operation::kJoin, 10, a.join_body(0, kNoTimeout, 0, "other")));
  CHECK(a.failed().status == ErrorCode::kInvalidArgument);
}

TEST_CASE("runs: members come in pages") {
  Server server("127.0.0.1", 0);
  const RunSettings settings{5, 5, 30'000, 5'000, 3, RankBy::kAddress, true, false};
  std::vector<std::unique_ptr<RunNodePeer>> peers;
  for (int i = 0; i < 5; ++i) {
    peers.push_back(
        std::make_unique<RunNodePeer>(server.port(), "n" + std::to_string(i), settings));
    peers.back()->join();
  }
  RunNodePeer& peer = *peers.front();
  for (const auto& each : peers) each->joined();
  CHECK(peer.members(MemberList::kParticipants, 2) == "5: n0/0 n1/1 ...");
  CHECK(peer.more(MemberList::kParticipants, 2) == "5: n2/2 n3/3 ...");
  CHECK(peer.more(MemberList::kParticipants, 2) == "5: n4/4");
  CHECK(peer.members(MemberList::kParticipants, 0) == "5:");
  CHECK(peer.members(MemberList::kParticipants, UINT32_MAX) == "5: n0/0 n1/1 n2/2 n3/3 n4/4");
  CHECK(peer.members(MemberList::kParticipants, 2) == "5: n0/0 n1/1 ...");
  peers[3]->leave(true);
  CHECK(peer.more(MemberList::kParticipants, 2) == "4: n2/2 n4/4");
  CHECK(peer.members(MemberList::kLost) == "1: n3/-");
  RunNodePeer late(server.port(), "late", settings);
  late.join_and_wait();
  CHECK(peer.members(MemberList::kWaiting) == "1: late/-");
  RunNodePeer spare(server.port(), "spare", settings);
  spare.join_as_spare_and_wait();
  CHECK(peer.members(MemberList::kSpares) == "1: spare/-");
  RunNodePeer another(server.port(), "another", settings);
  another.join_as_spare_and_wait();
  CHECK(peer.members(MemberList::kSpares, 1) == "2: spare/- ...");
  CHECK(peer.more(MemberList::kSpares, 1) == "2: another/-");
  std::string body;
  native::put(body, native::MembersRequest{"r", MemberList::kWaiting, "no cursor", 2});
  CHECK(peer.call(Operation::kMembers, body).message() ==
        "members: the cursor does not belong to this list; start without one");
}
