// What a server remembers of what has happened: rings that share their bytes, and the events of a
// real run.
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "run_scene.h"
#include "server/timeline.h"

using namespace rdzv;
using namespace rdzv::test;
using native::EventKind;

namespace {

Event event(std::string text) {
  Event made;
  made.text = std::move(text);
  return made;
}

// "joined a, joined b, complete b": what has happened, and to whom.
std::string told(RunNodePeer& peer, Bytes run_id = "r", uint64_t from = 0) {
  std::string body;
  native::put(body, native::TimelineRequest{run_id, from});
  const std::string answer = peer.ok(native::Operation::kTimeline, body);
  native::TimelineReply reply;
  REQUIRE(native::take(answer, reply));
  if (!reply.known) return "unknown";
  static constexpr const char* kNames[] = {
      "joined",  "waiting", "spare",    "last call",  "complete", "broken",
      "resumed", "left",    "lost",     "failed",     "gave up",  "timed out",
      "refused", "closed",  "finished", "run failed", "warning"};
  std::string text;
  uint64_t before = 0;
  for (const native::TimelineReply::Item& item : reply.items) {
    CHECK(item.at_us >= before);
    CHECK(item.at_us <= reply.now_us);
    before = item.at_us;
    if (!text.empty()) text += ", ";
    text += kNames[static_cast<size_t>(item.kind)];
    if (!item.node.addr.empty()) text.append(" ").append(item.node.addr);
    if (item.kind == EventKind::kComplete)
      text += " (round " + std::to_string(item.round) + " of " + std::to_string(item.nodes) + ")";
    if (item.kind == EventKind::kClosed) text.append(" ").append(item.text);
  }
  CHECK(reply.first + reply.items.size() == reply.next);
  return text;
}

}  // namespace

TEST_CASE("timeline: events keep their numbers when older ones have gone") {
  Timelines all(20 * sizeof(Event));
  Timeline one(all);
  for (int i = 1; i <= 100; ++i) one.add(event("event " + std::to_string(i)));
  CHECK(all.bytes() <= 20 * sizeof(Event));
  CHECK(one.next() == 101);
  CHECK(one.first() == 81);
  CHECK(one.at(81).text == "event 81");
  CHECK(one.at(100).text == "event 100");
}

TEST_CASE("timeline: a busy run takes nothing of a quiet one's share") {
  Timelines all(30 * sizeof(Event));
  Timeline quiet(all);
  Timeline busy(all);
  auto third = std::make_unique<Timeline>(all);
  for (int i = 0; i < 10; ++i) quiet.add(event("quiet"));
  for (int i = 0; i < 1'000; ++i) busy.add(event("busy"));
  CHECK(quiet.first() == 1);
  CHECK(quiet.next() == 11);
  CHECK(busy.next() - busy.first() == 20);
  for (int i = 0; i < 1'000; ++i) third->add(event("third"));
  CHECK(quiet.first() == 1);
  CHECK(busy.next() - busy.first() == 10);
  third.reset();
  for (int i = 0; i < 1'000; ++i) busy.add(event("busy"));
  CHECK(quiet.first() == 1);
  CHECK(busy.next() - busy.first() == 20);
}

TEST_CASE("timeline: a server that may keep none goes on without") {
  Timelines all(0);
  Timeline one(all);
  one.add(event("gone"));
  CHECK(one.first() == 2);
  CHECK(one.next() == 2);
  CHECK(all.bytes() == 0);
}

TEST_CASE("timeline: a long text is cut") {
  Timelines all(1 << 20);
  Timeline one(all);
  one.add(event(std::string(100'000, 'x')));
  CHECK(one.at(1).text.size() == 1'024);
}

TEST_CASE("timeline: what has happened to a run is told in order") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a");
  auto b = std::make_unique<RunNodePeer>(server.port(), "b");
  CHECK(told(a) == "unknown");
  a.join_and_wait();
  CHECK(told(a) == "joined a");
  b->join();
  a.joined();
  b->joined();
  CHECK(told(a) == "joined a, joined b, complete b (round 1 of 2)");
  CHECK(told(a, "r", 3) == "complete b (round 1 of 2)");
  CHECK(told(a, "r", 1'000) == "");
  a.subscribe(1);
  b.reset();
  a.told();
  CHECK(told(a, "r", 4) == "broken b, lost b");
  a.close_run();
  CHECK(told(a, "r", 6).starts_with("closed"));
}

TEST_CASE("timeline: a node that comes again for the next round joins again") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a");
  RunNodePeer b(server.port(), "b");
  a.join_and_wait();
  b.join();
  a.joined();
  b.joined();
  a.leave(true);
  b.leave(true);
  b.join_and_wait(1);
  a.join(1);
  a.joined();
  b.joined();
  CHECK(told(a, "r", 4) == "failed a, failed b, joined b, joined a, complete a (round 2 of 2)");
}

TEST_CASE("timeline: a JOIN whose time is over, and one that is refused") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a");
  a.join(0, 1);
  a.failed();
  RunNodePeer b(server.port(), "b");
  b.join_and_wait();
  native::RunSettings other = kPair;
  other.max_nodes = 7;
  RunNodePeer c(server.port(), "c", other);
  c.join();
  c.failed();
  CHECK(told(b) == "joined a, timed out a, left a, joined b, refused");
}

TEST_CASE("timeline: without a run id, the server's warnings") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a");
  CHECK(told(a, "") == "");
  {
    NativePeer other(server.port());
    other.send(std::string(64, 'x'));
    other.receive_to_end();
  }
  CHECK(told(a, "") == "warning");
}
