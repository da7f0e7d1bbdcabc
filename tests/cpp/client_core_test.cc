// The core of a native client alone: bytes, times and ends go in, bytes and calls that are over come
// out.
#include "client/core.h"

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/patience.h"
#include "client/session.h"
#include "client_core_scene.h"
#include "wire/messages.h"

using namespace rdzv;
using namespace rdzv::test;
using native::Operation;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Outcome = ClientCore::Outcome;
using State = ClientCore::State;

TEST_CASE("a greeting may come in any two pieces, and what follows it at once") {
  const std::string bytes = hello_answer() + answer(Operation::kNumKeys, 1, "12345678");
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    Scene scene(false);
    Call call(Operation::kNumKeys);
    scene.send(call);
    // Requests wait for the greeting's answer.
    CHECK(scene.take_sent().starts_with(native::kMagic));
    CHECK(scene.core.to_send().empty());
    scene.receive(Exact(Bytes(bytes).substr(0, cut)).view());
    if (cut >= hello_answer().size())
      CHECK(scene.take_frames() == Frames{{Operation::kNumKeys, 1}});
    scene.receive(Exact(Bytes(bytes).substr(cut)).view());
    CHECK(scene.core.state() == State::kOpen);
    CHECK(scene.core.peer().instance[15] == 7);
    CHECK(scene.core.peer().observed_address == "10.0.0.1");
    CHECK(call.reply.body == "12345678");
  }
}

TEST_CASE("a greeting that is refused, or answered by something else, says which") {
  const auto greeted_with = [](Bytes bytes) {
    Scene scene(false);
    scene.take_sent();
    scene.receive(bytes);
    CHECK(scene.core.state() == State::kBroken);
    CHECK(scene.core.to_send().empty());
    return std::pair(scene.core.broken().code, scene.core.broken().why);
  };
  using Break = std::pair<ErrorCode, std::string>;
  CHECK(greeted_with(answer(Operation::kHello, 0, error_body("full"), ErrorCode::kLimit)) ==
        Break(ErrorCode::kLimit, "full"));
  CHECK(greeted_with(answer(Operation::kHello, 0, error_body("no"), ErrorCode::kUnsupported)) ==
        Break(ErrorCode::kUnsupported, "no"));
  CHECK(greeted_with(answer(Operation::kHello, 0, error_body("\x1b[2J"), ErrorCode::kLimit)) ==
        Break(ErrorCode::kLimit, "\\x1b[2J"));
  CHECK(greeted_with(answer(Operation::kHello, 0, "odd")) ==
        Break(ErrorCode::kProtocol, "its HELLO is malformed"));
  CHECK(greeted_with("HTTP/1.1 400 Bad Request") ==
        Break(ErrorCode::kProtocol, "it answered 'HTTP/1.1 400 Bad Request'"));
}

TEST_CASE("answers find their calls in any order and in any two pieces") {
  const std::string bytes = answer(Operation::kGet, 3, "three") +
                            answer(Operation::kGet, 1, "one") +
                            answer(Operation::kGet, 2, error_body("late"), ErrorCode::kTimeout);
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    Scene scene;
    std::vector<const Call*> over;
    Call one(Operation::kGet, &over);
    Call two(Operation::kGet, &over);
    Call three(Operation::kGet, &over);
    for (Call* call : {&one, &two, &three}) scene.send(*call);
    CHECK(scene.take_frames().size() == 3);
    scene.receive(Exact(Bytes(bytes).substr(0, cut)).view());
    scene.receive(Exact(Bytes(bytes).substr(cut)).view());
    CHECK(over == std::vector<const Call*>{&three, &one, &two});
    CHECK(one.reply.body == "one");
    CHECK(two.reply.status == ErrorCode::kTimeout);
    CHECK(three.reply.body == "three");
    CHECK(scene.core.in_flight() == 0);
  }
}

TEST_CASE("a large answer becomes its call's where it was gathered") {
  Scene scene;
  Call call(Operation::kGet);
  scene.send(call);
  const std::string body(1'000'000, 'x');
  const std::string bytes = answer(Operation::kGet, 1, body);
  for (size_t at = 0; at < bytes.size(); at += 64 * 1024)
    scene.receive(Bytes(bytes).substr(at, 64 * 1024));
  CHECK(call.is_over());
  CHECK(call.reply.body_begin == native::kHeaderBytes);
  CHECK(call.reply.body == bytes);
}

TEST_CASE("an answer to what nobody asked is dropped, and what is no answer ends the connection") {
  Scene scene;
  Call call(Operation::kGet);
  scene.send(call);
  scene.receive(answer(Operation::kGet, 99, "whose?"));
  CHECK_FALSE(call.is_over());
  CHECK(scene.core.state() == State::kOpen);
  scene.take_sent();
  scene.receive(native_frame(Operation::kGet, 1));
  CHECK(call.reply.outcome == Outcome::kBroken);
  CHECK(scene.core.broken().why == "the server sent something that is not a reply");
}

TEST_CASE(
    "a connection that breaks ends its calls in their order, and says of which nothing left") {
  Scene scene;
  std::vector<const Call*> over;
  Call sent(Operation::kSet, &over);
  Call half(Operation::kSet, &over);
  Call unsent(Operation::kSet, &over);
  for (Call* call : {&sent, &half, &unsent}) scene.send(*call, "body");
  scene.take_sent(native::kHeaderBytes + 4 + 1);
  scene.core.break_off("cut");
  scene.core.break_off("again");
  CHECK(over == std::vector<const Call*>{&unsent, &sent, &half});
  for (const Call* call : over) CHECK(call->reply.outcome == Outcome::kBroken);
  CHECK(sent.reply.sent);
  CHECK(half.reply.sent);
  CHECK_FALSE(unsent.reply.sent);
  CHECK(scene.core.broken().why == "cut");
  CHECK(scene.core.next() == Timers::kNever);

  Call late(Operation::kGet);
  scene.send(late);
  CHECK(late.reply.outcome == Outcome::kBroken);
  CHECK_FALSE(late.reply.sent);
}

TEST_CASE("what was answered before the peer took no more still counts") {
  Scene scene;
  Call sent(Operation::kAdd);
  Call unanswered(Operation::kAdd);
  Call unsent(Operation::kAdd);
  scene.send(sent);
  scene.send(unanswered);
  scene.take_sent();
  scene.send(unsent);
  scene.core.end_sending("reset");
  CHECK(unsent.reply.outcome == Outcome::kBroken);
  CHECK_FALSE(unsent.reply.sent);
  CHECK(scene.core.to_send().empty());
  scene.receive(answer(Operation::kAdd, 1, "sum"));
  CHECK(sent.reply.body == "sum");
  scene.core.break_off("closed");
  CHECK(unanswered.reply.outcome == Outcome::kBroken);
  CHECK(unanswered.reply.sent);
  CHECK(scene.core.broken().why == "reset");
}

TEST_CASE("a call out of time is withdrawn if nothing of it was sent, and else cancelled") {
  Scene scene;
  Call first(Operation::kGet);
  Call second(Operation::kGet);
  Call third(Operation::kGet);
  first.waits_for_others = second.waits_for_others = third.waits_for_others = true;
  first.deadline = scene.now + milliseconds(30);
  second.deadline = scene.now + milliseconds(20);
  for (Call* call : {&first, &second, &third}) scene.send(*call);
  scene.take_sent(native::kHeaderBytes);  // the first one
  CHECK(scene.core.next() == second.deadline);

  scene.now += milliseconds(20);
  CHECK_FALSE(scene.core.run_due(scene.now));
  CHECK(second.reply.outcome == Outcome::kTimedOut);
  CHECK_FALSE(second.reply.sent);
  CHECK_FALSE(first.is_over());
  CHECK(scene.core.next() == first.deadline);
  CHECK(scene.take_frames() == Frames{{Operation::kGet, 3}});

  scene.now += milliseconds(10);
  scene.core.run_due(scene.now);
  CHECK(first.reply.outcome == Outcome::kTimedOut);
  CHECK(first.reply.sent);
  CHECK(scene.core.next() == Timers::kNever);
  std::string cancel;
  native::put(cancel, native::CancelRequest{0, native::RequestId{1}});
  CHECK(scene.take_sent() == native_frame(Operation::kCancel, 4, cancel));
  scene.receive(answer(Operation::kGet, 1, "too late") + answer(Operation::kGet, 3, "in time"));
  CHECK(first.reply.body.empty());
  CHECK(third.reply.body == "in time");
}

TEST_CASE("an answer in time leaves no deadline behind") {
  Scene scene;
  Call call(Operation::kGet);
  call.deadline = scene.now + seconds(1);
  scene.send(call);
  scene.receive(answer(Operation::kGet, 1, "v"));
  CHECK(scene.core.next() == Timers::kNever);
  CHECK_FALSE(scene.core.run_due(scene.now + seconds(100)));
  CHECK(call.reply.outcome == Outcome::kAnswered);
}

TEST_CASE("a call that no byte follows for its time is silence, said once") {
  Scene scene;
  Call waits(Operation::kGet);
  waits.waits_for_others = true;
  scene.send(waits);
  scene.take_sent();
  CHECK(scene.core.next() == Timers::kNever);  // others may take as long as they like

  scene.now += seconds(10);
  Call prompt(Operation::kSet);
  scene.send(prompt);
  scene.take_sent();
  const Instant sent_at = scene.now;
  CHECK(scene.core.next() == sent_at + kSilenceMax);
  CHECK_FALSE(scene.core.run_due(sent_at + kSilenceMax - milliseconds(1)));

  SUBCASE("and then not again") {
    CHECK(scene.core.run_due(sent_at + kSilenceMax));
    CHECK(scene.core.next() == Timers::kNever);
    CHECK_FALSE(scene.core.run_due(sent_at + 10 * kSilenceMax));
    CHECK_FALSE(prompt.is_over());
  }
  SUBCASE("unless any byte comes") {
    scene.now += seconds(1);
    scene.receive("x");
    CHECK(scene.core.next() == scene.now + kSilenceMax);
  }
  SUBCASE("or is taken") {
    scene.core.on_taken(sent_at + seconds(2));
    CHECK(scene.core.next() == sent_at + seconds(2) + kSilenceMax);
  }
  SUBCASE("or the answer comes") {
    scene.receive(answer(Operation::kSet, 2));
    CHECK(prompt.is_over());
    CHECK(scene.core.next() == Timers::kNever);
  }
}

TEST_CASE("a frame whose rest goes at last shows that the peer takes") {
  Scene scene;
  Call call(Operation::kSet);
  scene.send(call, "a body");
  const Instant sent_at = scene.now;
  scene.take_sent(5);
  CHECK(scene.core.next() == sent_at + kSilenceMax);
  scene.now += seconds(3);
  scene.take_sent();
  CHECK(scene.core.next() == scene.now + kSilenceMax);
}

TEST_CASE("an item goes back to its queue when nobody takes it") {
  const std::string pop = Fields().u32(1000).string32("/q").bytes;
  const std::string item = Fields().string32("item").bytes;
  const std::string push = Fields().string32("/q").string32("item").bytes;
  Scene scene;
  Call call(Operation::kQueuePop);
  scene.send(call, pop);
  scene.take_sent();
  SUBCASE("as its caller was interrupted when it was there") {
    scene.receive(answer(Operation::kQueuePop, 1, item));
    scene.core.give_up(call);
    CHECK(scene.take_sent() == native_frame(Operation::kQueuePush, 2, push));
  }
  SUBCASE("as it comes too late") {
    scene.core.give_up(call);
    CHECK(scene.take_frames() == Frames{{Operation::kCancel, 2}, {Operation::kPing, 3}});
    scene.receive(answer(Operation::kQueuePop, 1, item));
    CHECK(scene.take_sent() == native_frame(Operation::kQueuePush, 4, push));
    scene.receive(answer(Operation::kQueuePop, 1, item));  // it is not given back twice
    CHECK(scene.core.to_send().empty());
  }
  SUBCASE("but not what comes after the PING, or is none") {
    scene.core.give_up(call);
    scene.take_sent();
    Call other(Operation::kQueuePop);
    scene.send(other, pop);
    scene.core.give_up(other);
    scene.receive(answer(Operation::kPing, 3) + answer(Operation::kQueuePop, 1, item) +
                  answer(Operation::kQueuePop, 4, error_body("late"), ErrorCode::kTimeout));
    CHECK(scene.core.to_send().empty());
  }
}

TEST_CASE("a sign of life is asked for where nothing else is on its way") {
  Scene scene;
  scene.core.probe();
  CHECK(scene.take_frames() == Frames{{Operation::kPing, 1}});
  Call call(Operation::kSet);
  scene.send(call);
  scene.core.probe();
  CHECK(scene.take_frames() == Frames{{Operation::kSet, 2}});
}

TEST_CASE("a call's owner may end it, or send it again, once it is over") {
  struct Once : ClientCore::Call {
    explicit Once(std::unique_ptr<Once>& hold) : ClientCore::Call(Operation::kGet), owner(hold) {}
    void on_over() override { owner.reset(); }
    std::unique_ptr<Once>& owner;
  };
  std::unique_ptr<Once> call;
  const auto sent = [&](Scene& scene) {
    call = std::make_unique<Once>(call);
    call->deadline = scene.now + seconds(1);
    scene.core.send(*call, {}, scene.now);
    scene.take_sent();
  };
  Scene scene;
  sent(scene);
  scene.receive(answer(Operation::kGet, 1));
  CHECK(call == nullptr);
  sent(scene);
  scene.core.run_due(scene.now + seconds(1));
  CHECK(call == nullptr);
  scene.take_sent();
  sent(scene);
  scene.core.break_off("cut");
  CHECK(call == nullptr);

  Scene next;
  Call again(Operation::kGet);
  next.send(again);
  next.core.end_sending("cut");
  CHECK(again.is_over());
  Scene after;
  after.send(again);
  CHECK_FALSE(again.is_over());
  CHECK(again.reply.sent);
  CHECK(after.take_frames() == Frames{{Operation::kGet, 1}});
}

TEST_CASE("ids grow over the connections of a session, which notices another server") {
  ClientSession session({9});
  const auto connect = [&](uint8_t instance) {
    ClientCore core(session.id(), "a test");
    core.on_sent(core.to_send().size(), {});
    core.receive(hello_answer(instance), {});
    session.enter(core);
    return core;
  };
  ClientCore first = connect(1);
  Call call(Operation::kGet);
  first.send(call, {}, {});
  first.break_off("cut");
  session.leave(first);
  CHECK(session.restarts() == 0);
  ClientCore second = connect(1);
  second.send(call, {}, {});
  CHECK(second.last_id() == first.last_id() + 1);
  CHECK(session.restarts() == 0);
  session.leave(second);
  connect(2);
  CHECK(session.restarts() == 1);
  CHECK(session.observed_address() == "10.0.0.1");
}
