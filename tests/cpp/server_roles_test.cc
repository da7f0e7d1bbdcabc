// What each role may do: every operation of both protocols, by a reader, and what the audit says.
#include <doctest/doctest.h>

#include <set>
#include <string>

#include "base/log.h"
#include "core_world.h"
#include "wire/c10d.h"

using namespace rdzv;
using namespace rdzv::test;
using native::Operation;

namespace {

// All that changes nothing and takes nothing away. Whoever adds an operation says here and in the
// server's table which it is.
const std::set<Operation> kLooks{
    Operation::kHello,    Operation::kPing,        Operation::kGet,      Operation::kCheck,
    Operation::kWait,     Operation::kNumKeys,     Operation::kListKeys, Operation::kMultiGet,
    Operation::kCancel,   Operation::kQueueLen,    Operation::kTryGet,   Operation::kWatch,
    Operation::kStatus,   Operation::kSubscribe,   Operation::kMembers,  Operation::kCloseChannel,
    Operation::kFollow,   Operation::kWatchPrefix, Operation::kHosts,    Operation::kSpaces,
    Operation::kTimeline,
};

std::string drained_log() {
  std::string all;
  while (const auto record = LogQueue::instance().read(Duration::zero()))
    all += record->message + "\n";
  return all;
}

std::string request_of(c10d::Code code) {
  using c10d::Code;
  switch (code) {
    case Code::kSet:
    case Code::kAppend:
    case Code::kQueuePush:
      return c10d_request(code, {"/k", "1"});
    case Code::kCompareSet:
      return c10d_request(code, {"/k", "1", "2"});
    case Code::kAdd:
      return c10d_add("/k", 1);
    case Code::kBarrier:
      return c10d_barrier("/k", 1);
    case Code::kMultiSet:
      return c10d_request(code, {"/k", "1"});
    case Code::kPing:
      return c10d_ping(1);
    case Code::kNumKeys:
    case Code::kCancelWait:
    case Code::kListKeys:
      return c10d_request(code);
    default:
      return c10d_request(code, {"/k"});
  }
}

}  // namespace

TEST_CASE("a reader is refused every operation that changes or consumes, in a sentence") {
  World world;
  MemoryPeer& member = world.member("a");
  member.ask(native::SetRequest{{"/k"}, {"v"}});
  member.ask(native::QueuePushRequest{{"/q"}, {"item"}});
  const auto census = [&] {
    const auto found = member.answer<native::SpacesRequest>(member.ask(native::SpacesRequest{}));
    const auto& space = found.spaces.front();
    return std::pair(space.keys, space.stored_bytes);
  };
  const auto before = census();
  MemoryPeer& reader = world.holder("a", tls::Role::kReader);
  reader.exchange();
  native::for_each_request([&]<typename Request>(Request*) {
    if (Request::Is::kOperation == Operation::kHello) return;
    drained_log();
    std::string sent;
    native::Header header;
    header.operation = static_cast<uint8_t>(Request::Is::kOperation);
    header.id = 1000;
    native::put_frame(sent, header, Request{});
    reader.send(sent);
    const std::string answer = reader.transport.read();
    const bool is_refused = answer.size() >= native::kHeaderBytes &&
                            static_cast<ErrorCode>(answer[5]) == ErrorCode::kRefused;
    INFO(Request::Is::kName);
    CHECK(is_refused != kLooks.contains(Request::Is::kOperation));
    if (!is_refused) return;
    CHECK(answer.find("role is member or admin") != std::string::npos);
    const std::string log = drained_log();
    CHECK(log.find("audit event=refused peer='10.1.0.1:") != std::string::npos);
    CHECK(log.find("space='a' role='reader' key='key-of-a' what='" +
                   std::string(native::name_of(Request::Is::kOperation)) + "'") !=
          std::string::npos);
    world.wait(std::chrono::seconds(1));
  });
  CHECK(before == census());
}

TEST_CASE("a reader is refused what changes or consumes in torch's protocol, too") {
  using c10d::Code;
  const std::set<Code> looks{Code::kValidate, Code::kGet,      Code::kCheck, Code::kWait,
                             Code::kNumKeys,  Code::kMultiGet, Code::kPing,  Code::kCancelWait,
                             Code::kQueueLen, Code::kListKeys};
  for (int code = 1; code <= static_cast<int>(Code::kBarrier); ++code) {
    for (const tls::Role role : {tls::Role::kReader, tls::Role::kMember, tls::Role::kAdmin}) {
      World world;
      MemoryPeer& member = world.member("a");
      member.ask(native::SetRequest{{"/k"}, {"1"}});
      drained_log();
      MemoryPeer& peer = world.holder("a", role);
      peer.send(c10d_validate());
      const auto each = static_cast<Code>(code);
      INFO(c10d::name_of(each));
      peer.send(request_of(each));
      const bool may = role != tls::Role::kReader || looks.contains(each);
      CHECK(peer.transport.closed != may);
      if (!may) CHECK(drained_log().find("role='reader'") != std::string::npos);
    }
  }
}

TEST_CASE("a reader that waits for a queue takes nobody's turn") {
  World world;
  MemoryPeer& member = world.member("a");
  MemoryPeer& reader = world.holder("a", tls::Role::kReader);
  reader.send(c10d_validate());
  reader.send(request_of(c10d::Code::kWait));
  MemoryPeer& popper = world.holder("a", tls::Role::kMember);
  popper.send(c10d_validate());
  popper.send(request_of(c10d::Code::kWait));
  member.ask(native::QueuePushRequest{{"/k"}, {"item"}});
  CHECK(popper.transport.read() == std::string(1, '\0'));
  CHECK(reader.transport.read() == std::string(1, '\0'));
}

TEST_CASE("what an admin changes is in the audit, and the records have a rate") {
  World world;
  MemoryPeer& admin = world.holder("default", tls::Role::kAdmin, "a");
  admin.exchange();
  drained_log();
  admin.ask(native::SetRequest{{"/k"}, {"v"}});
  CHECK(drained_log().find("audit event=admin peer='10.1.0.1:1' space='a' role='admin' "
                           "key='key-of-default' what='set'") != std::string::npos);
  for (uint64_t i = 0; i < 10 * Audit::kRecordsASecond; ++i)
    admin.ask(native::SetRequest{{"/k"}, {"v"}});
  std::string log = drained_log();
  uint64_t records = 0;
  for (size_t at = 0; (at = log.find("event=admin", at)) != std::string::npos; ++at) ++records;
  CHECK(records == Audit::kRecordsASecond - 1);
  world.wait(std::chrono::seconds(1));
  CHECK(drained_log().find("audit event=left_out records=" +
                           std::to_string(9 * Audit::kRecordsASecond + 1)) != std::string::npos);
}
