// Bodies of the operations on runs, against bytes built by hand: both ways, cut at every byte, with
// bytes left over, with flags and counts that cannot be.
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "support.h"
#include "wire/limits.h"
#include "wire/messages.h"

using namespace rdzv;
using namespace rdzv::test;
using native::Operation;

namespace {

Fields node_fields(Bytes addr, uint64_t pid, uint64_t local_id) {
  return Fields().string32(addr).u64(pid).u64(local_id);
}

Fields settings_fields() {
  return Fields().u32(2).u32(9).u64(30'000).u64(5'000).u32(3).u8(3).u8(1).u8(0).u64(1'000).u32(1);
}

const std::string kNode = node_fields("host7", 4211, uint64_t{1} << 40).bytes;
const std::string kSettings = settings_fields().bytes;
const std::string kFacts = Fields().u32(7).string32("switch1/rack2").u64(3).bytes;

// One body: its bytes, and what it is after it was taken and put again; empty if it was refused.
struct Case {
  const char* name;
  std::string bytes;
  std::function<std::string(Bytes)> again;
};

template <typename Message>
Case one(const char* name, const Fields& fields) {
  return {name, fields.bytes, [](Bytes body) {
            Exact exact(body);
            Message message;
            if (!native::take(exact.view(), message)) return std::string();
            std::string out = "put ";
            native::put(out, message);
            return out.substr(4);
          }};
}

std::vector<Case> cases() {
  using namespace native;
  const Fields item = Fields().raw(kNode).u32(1).u32(250);
  const Fields status = Fields()
                            .u8(1)
                            .u64(5)
                            .u8(1)
                            .u8(0)
                            .u64(4)
                            .u32(2)
                            .u8(1)
                            .raw(kSettings)
                            .u32(1)
                            .u32(2)
                            .u32(3)
                            .u32(4)
                            .u32(UINT32_MAX)
                            .u8(5)
                            .u32(UINT32_MAX)
                            .u32(6)
                            .u32(1)
                            .u32(2)
                            .u8(1)
                            .string32("node a gave up")
                            .string32("10.0.0.1")
                            .string32("why");
  return {
      one<JoinRequest>("join", Fields()
                                   .u32(1000)
                                   .string32("run")
                                   .raw(kNode)
                                   .raw(kSettings)
                                   .u64(4)
                                   .u32(250)
                                   .u32(7)
                                   .u8(1)
                                   .raw(kFacts)),
      one<JoinReply>(
          "join reply",
          Fields().u8(0).u64(5).u32(1).u32(2).raw(kNode).raw(kNode).raw(kNode).u32(3).u32(4).u32(
              5)),
      one<LeaveRequest>(
          "leave",
          Fields().string32("run").raw(kNode).u8(1).u8(1).u32(3).u64(5).string32("last").u8(1)),
      one<LeaveReply>("leave reply", Fields().u8(1).string32("node a gave up")),
      one<KeepAliveRequest>("keep_alive", Fields().u32(7)),
      one<KeepAliveReply>("keep_alive reply", Fields().u8(1).u32(3).u8(1)),
      one<CloseRunRequest>("close", Fields().string32("run").string32("why").u8(1)),
      one<StatusRequest>("status", Fields().string32("run").raw(kNode)),
      one<StatusRequest>("status of no node",
                         Fields().string32("run").raw(node_fields("", 0, 0).bytes)),
      one<StatusReply>("status reply", status),
      one<SubscribeRequest>("subscribe",
                            Fields().u32(1000).string32("run").raw(kNode).u64(5).u32(1).u8(1)),
      one<SubscribeReply>("subscribe reply", Fields().u8(1).u32(3).u8(0)),
      one<FollowRequest>("follow", Fields().u32(1000).string32("run").u64(7)),
      one<FollowReply>("follow reply",
                       Fields().u64(8).raw(status.bytes).u32(2).raw(kNode).u8(0).raw(kNode).u8(3)),
      one<MembersRequest>("members", Fields().string32("run").u8(3).string32("cursor").u32(1000)),
      one<MembersReply>("members reply",
                        Fields().u32(9).string32("cursor").u32(2).raw(item.bytes).raw(item.bytes)),
      one<MembersReply>("members reply without any", Fields().u32(0).string32("").u32(0)),
      one<ResumeRequest>("resume", Fields()
                                       .string32("run")
                                       .raw(kNode)
                                       .raw(kSettings)
                                       .u64(5)
                                       .u32(1)
                                       .u32(2)
                                       .u32(250)
                                       .u32(7)
                                       .raw(kFacts)),
      one<HostsRequest>("hosts", Fields().u32(2).string32("10.0.0.1").string32("fd00::1")),
      one<HostsReply>("hosts reply", Fields().u32(2).u8(2).u8(0)),
      one<TimelineRequest>("timeline", Fields().string32("run").u64(7)),
      one<TimelineReply>("timeline reply", Fields()
                                               .u8(1)
                                               .u64(900)
                                               .u64(7)
                                               .u64(8)
                                               .u32(1)
                                               .u64(800)
                                               .u8(8)
                                               .u64(2)
                                               .u32(3)
                                               .u64(100)
                                               .raw(kNode)
                                               .string32("its connection broke")),
      one<ResumeReply>("resume reply", Fields().u8(1).u32(3).u8(0)),
  };
}

template <typename Message>
bool takes(const Fields& fields) {
  Exact exact(fields.bytes);
  Message message;
  return native::take(exact.view(), message);
}

}  // namespace

TEST_CASE("run bodies are what the protocol says, both ways") {
  for (const Case& each : cases()) {
    CAPTURE(each.name);
    CHECK(each.again(each.bytes) == each.bytes);
  }
}

TEST_CASE("run bodies that are cut or have bytes left over are refused") {
  for (const Case& each : cases()) {
    CAPTURE(each.name);
    for (size_t size = 0; size < each.bytes.size(); ++size)
      CHECK(each.again(Bytes(each.bytes).substr(0, size)) == "");
    CHECK(each.again(each.bytes + "x") == "");
    CHECK(each.again(each.bytes + each.bytes) == "");
  }
}

TEST_CASE("run requests decode the same however their frames are cut") {
  const std::vector<Case> all = cases();
  std::string stream;
  for (size_t i = 0; i < all.size(); ++i) stream += native_frame(Operation::kJoin, i, all[i].bytes);
  for (size_t piece : {size_t{1}, size_t{7}, stream.size()}) {
    std::string waiting;
    size_t taken = 0;
    for (size_t at = 0; at < stream.size(); at += piece) {
      waiting += stream.substr(at, piece);
      Exact exact(waiting);
      size_t used = 0;
      native::Frame frame;
      while (native::next_frame(exact.view().substr(used), frame) == native::Progress::kTaken) {
        REQUIRE(frame.header.id == taken);
        CHECK(all[taken].again(frame.body) == all[taken].bytes);
        ++taken;
        used += native::kHeaderBytes + frame.body.size();
      }
      waiting.erase(0, used);
    }
    CHECK(taken == all.size());
    CHECK(waiting == "");
  }
}

TEST_CASE("what was taken of a run body is what was sent") {
  using namespace native;
  JoinRequest join;
  const std::string bytes = cases().front().bytes;
  REQUIRE(take(bytes, join));
  CHECK(join.timeout_ms == 1000);
  CHECK(join.run_id == "run");
  CHECK(join.node.addr == "host7");
  CHECK(join.node.pid == 4211);
  CHECK(join.node.local_id == uint64_t{1} << 40);
  CHECK(join.settings.min_nodes == 2);
  CHECK(join.settings.max_nodes == 9);
  CHECK(join.settings.last_call_ms == 30'000);
  CHECK(join.settings.keep_alive_interval_ms == 5'000);
  CHECK(join.settings.keep_alive_max_attempt == 3);
  CHECK(join.after_round == 4);
  CHECK(join.grace_ms == 250);
  CHECK(join.handle == 7);
  StatusReply status;
  const std::string bytes_of_status = cases()[9].bytes;
  REQUIRE(take(bytes_of_status, status));
  CHECK(status.complete);
  CHECK_FALSE(status.closed);
  CHECK(status.finished_round == 4);
  CHECK(status.lost == 4);
  CHECK(status.last_call_left_ms == kNoLastCall);
  CHECK(status.role == RunRole::kAbsent);
  CHECK(status.rank == kNoRank);
  CHECK(status.changes == 6);
  CHECK(status.reached_at == "10.0.0.1");
}

TEST_CASE("flags and kinds that do not exist are refused") {
  using namespace native;
  CHECK_FALSE(takes<LeaveRequest>(
      Fields().string32("run").raw(kNode).u8(2).u8(0).u32(0).u64(0).string32("").u8(0)));
  CHECK_FALSE(takes<LeaveReply>(Fields().u8(2).string32("")));
  CHECK_FALSE(takes<LeaveRequest>(
      Fields().string32("run").raw(kNode).u8(1).u8(2).u32(0).u64(0).string32("").u8(0)));
  CHECK_FALSE(takes<LeaveRequest>(
      Fields().string32("run").raw(kNode).u8(1).u8(1).u32(0).u64(0).string32("").u8(2)));
  CHECK_FALSE(takes<CloseRunRequest>(Fields().string32("run").string32("why").u8(2)));
  CHECK_FALSE(takes<LeaveRequest>(Fields()
                                      .string32("run")
                                      .raw(kNode)
                                      .u8(1)
                                      .u8(1)
                                      .u32(0)
                                      .u64(0)
                                      .string32(std::string(limits::kLastLineBytesMax + 1, 'x'))
                                      .u8(0)));
  CHECK_FALSE(takes<KeepAliveReply>(Fields().u8(255).u32(0).u8(0)));
  CHECK_FALSE(takes<KeepAliveReply>(Fields().u8(0).u32(0).u8(2)));
  CHECK_FALSE(takes<MembersRequest>(Fields().string32("run").u8(4).u32(0).u32(0)));
  CHECK_FALSE(
      takes<SubscribeRequest>(Fields().u32(0).string32("run").raw(kNode).u64(5).u32(1).u8(2)));
  CHECK_FALSE(takes<ResumeReply>(Fields().u8(2).u32(0).u8(0)));
  CHECK_FALSE(takes<JoinReply>(
      Fields().u8(5).u64(5).u32(1).u32(2).raw(kNode + kNode + kNode).u32(3).u32(4).u32(5)));
}

TEST_CASE("run ids and addresses above their limits are refused, and counts allocate nothing") {
  using namespace native;
  const std::string longest(limits::kRunIdBytesMax, 'r');
  CHECK(takes<CloseRunRequest>(Fields().string32(longest).string32("").u8(0)));
  CHECK_FALSE(takes<CloseRunRequest>(Fields().string32(longest + "r").string32("").u8(0)));
  CHECK_FALSE(takes<CloseRunRequest>(Fields().u32(UINT32_MAX).raw("run")));
  const std::string addr(limits::kTextBytesMax + 1, 'a');
  CHECK_FALSE(takes<StatusRequest>(Fields().string32("run").raw(node_fields(addr, 0, 0).bytes)));
  MembersReply members;
  for (uint64_t count : {uint64_t{3}, uint64_t{1} << 31, uint64_t{UINT32_MAX}}) {
    const Fields body = Fields().u32(0).u32(count).raw(kNode).u32(0);
    CHECK_FALSE(take(body.bytes, members));
    CHECK(members.items.capacity() == 0);
  }
}
