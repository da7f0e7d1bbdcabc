// Damaged streams of both protocols: into the decoders, in memory of exactly their size, and into a
// real server, which must go on serving others. RDZV_FUZZ_RUNS sets how many are tried; a failure
// names the seed, and RDZV_FUZZ_SEED with RDZV_FUZZ_RUNS=1 repeats the run.
#include <doctest/doctest.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "fuzz_streams.h"
#include "server/server.h"
#include "support.h"
#include "wire/c10d.h"
#include "wire/messages.h"
#include "wire/native.h"

using namespace rdzv;
using namespace rdzv::test;
using c10d::Code;
using native::Operation;

namespace {

void take_bytes(Bytes bytes) {
  volatile char seen = 0;
  for (char byte : bytes) seen = byte;
  static_cast<void>(seen);
}

// Feeds a c10d decoder as a connection does, a few bytes at a time.
void decode_c10d(FuzzStreams& streams, const std::string& stream) {
  c10d::Decoder decoder;
  c10d::Request request;
  std::string waiting;
  for (size_t at = 0; at < stream.size();) {
    size_t piece = 1 + streams.below(64);
    waiting += stream.substr(at, piece);
    at += piece;
    Exact exact(waiting);
    size_t consumed = 0;
    for (;;) {
      size_t used = 0;
      c10d::Progress progress = decoder.next(exact.view().substr(consumed), request, used);
      if (progress == c10d::Progress::kInvalid) {
        REQUIRE_FALSE(decoder.error().empty());
        return;
      }
      if (progress == c10d::Progress::kNeedMore) break;
      REQUIRE(used > 0);
      consumed += used;
      REQUIRE(consumed <= waiting.size());
      for (Bytes string : request.strings) take_bytes(string);
    }
    waiting.erase(0, consumed);
  }
}

template <typename Message>
void decode_as(Bytes body, Bytes (*text)(const Message&)) {
  Message message;
  if (native::take(body, message)) take_bytes(text(message));
}

void decode_run_body(Bytes body) {
  using namespace native;
  decode_as<JoinRequest>(body, [](const auto& m) -> Bytes { return m.node.addr; });
  decode_as<JoinReply>(body, [](const auto& m) -> Bytes { return m.first.addr; });
  decode_as<LeaveRequest>(body, [](const auto& m) -> Bytes { return m.run_id; });
  decode_as<CloseRunRequest>(body, [](const auto& m) -> Bytes { return m.run_id; });
  decode_as<StatusRequest>(body, [](const auto& m) -> Bytes { return m.node.addr; });
  decode_as<SubscribeRequest>(body, [](const auto& m) -> Bytes { return m.node.addr; });
  decode_as<MembersRequest>(body, [](const auto& m) -> Bytes { return m.run_id; });
  decode_as<ResumeRequest>(body, [](const auto& m) -> Bytes { return m.node.addr; });
  WatchPrefixReply changes;
  if (take(body, changes)) {
    for (const auto& item : changes.items) take_bytes(item.value);
  }
  FollowReply followed;
  if (take(body, followed)) {
    for (const auto& gone : followed.gone) take_bytes(gone.node.addr);
  }
  MembersReply members;
  if (take(body, members)) {
    for (const auto& item : members.items) take_bytes(item.node.addr);
  }
}

// Reads a body as every kind of body there is.
void decode_body(Bytes body) {
  Exact exact(body);
  native::HelloRequest hello;
  if (native::take(exact.view(), hello)) take_bytes(hello.client);
  native::HelloReply reply;
  if (native::take(exact.view(), reply)) take_bytes(reply.server);
  decode_run_body(exact.view());
  for (size_t strings_an_item : {size_t{1}, size_t{2}}) {
    ByteReader reader(exact.view());
    std::vector<Bytes> strings;
    if (!native::take_strings(reader, strings_an_item, strings)) continue;
    REQUIRE(strings.capacity() <= body.size());
    for (Bytes string : strings) take_bytes(string);
  }
  ByteReader reader(exact.view());
  while (reader.ok()) take_bytes(native::take_string(reader, 100));
  REQUIRE(reader.position() <= body.size());
}

void decode_native(const std::string& stream) {
  Exact exact(stream);
  native::Preamble preamble;
  native::take_preamble(exact.view(), preamble);
  size_t at = std::min(stream.size(), native::kPreambleBytes);
  native::Frame frame;
  while (native::next_frame(exact.view().substr(at), frame) == native::Progress::kTaken) {
    REQUIRE(frame.body.size() == frame.header.body_bytes);
    decode_body(frame.body);
    at += native::kHeaderBytes + frame.body.size();
    REQUIRE(at <= stream.size());
  }
}

// Clients that do nothing wrong, and must not notice that others do.
struct Healthy {
  C10dPeer c10d;
  NativePeer native;

  explicit Healthy(uint16_t port) : c10d(port), native(port) {}

  void check(const std::string& value) {
    c10d.ping();
    c10d.send(c10d_request(Code::kSet, {"/healthy/c10d", value}) +
              c10d_request(Code::kGet, {"/healthy/c10d"}));
    REQUIRE(c10d.receive_bytes() == value);
    native.ping();
    Fields set = Fields().string32("/healthy/native").string32(value);
    REQUIRE(native.call(Operation::kSet, set.bytes).status == ErrorCode::kOk);
    Fields get = Fields().u32(0).string32("/healthy/native");
    REQUIRE(native.call(Operation::kGet, get.bytes).body.ends_with(value));
  }
};

// Some connections are open at once; they leave in the order they came, in one of three ways.
class Rioters {
 public:
  explicit Rioters(uint16_t port) : port_(port) {}

  void send(FuzzStreams& streams, const std::string& stream) {
    peers_.push_back(std::make_unique<Peer>(port_));
    size_t cut = streams.below(4) == 0 ? streams.below(stream.size() + 1) : stream.size();
    peers_.back()->try_send(Bytes(stream).substr(0, cut));
    peers_.back()->try_send(Bytes(stream).substr(cut));
    if (streams.below(2) == 0) peers_.back()->receive_available();
    if (peers_.size() > kOpen) leave(streams);
  }

 private:
  static constexpr size_t kOpen = 8;

  void leave(FuzzStreams& streams) {
    switch (streams.below(3)) {
      case 0:
        peers_.front()->reset_connection();
        break;
      case 1:
        peers_.front()->receive_available();
        peers_.front()->close();
        break;
      default:
        peers_.front()->end_sending_if_open();
        peers_.front()->receive_to_end();
        peers_.front()->reset_connection();
    }
    peers_.pop_front();
  }

  uint16_t port_;
  std::deque<std::unique_ptr<Peer>> peers_;
};

}  // namespace

TEST_CASE("damaged streams make the decoders read nothing that is not there") {
  for (uint64_t run = 0; run < fuzz_runs(); ++run) {
    uint64_t seed = fuzz_seed() + run;
    CAPTURE(seed);
    FuzzStreams streams(seed);
    decode_c10d(streams, streams.damaged(streams.c10d()));
    decode_native(streams.damaged(streams.native()));
    std::string wrong_protocol = streams.damaged(streams.either());
    decode_c10d(streams, wrong_protocol);
    decode_native(wrong_protocol);
    decode_body(wrong_protocol.substr(0, 100));
  }
}

TEST_CASE("damaged streams harm nobody but their sender") {
  constexpr uint64_t kRunsAServer = 1000;
  constexpr uint64_t kBatch = 100;
  for (uint64_t first = 0; first < fuzz_runs(); first += kRunsAServer) {
    Server server("127.0.0.1", 0);
    Healthy healthy(server.port());
    Rioters rioters(server.port());
    uint64_t end = std::min(first + kRunsAServer, fuzz_runs());
    for (uint64_t run = first; run < end; ++run) {
      uint64_t seed = fuzz_seed() + run;
      CAPTURE(seed);
      FuzzStreams streams(seed);
      rioters.send(streams, streams.damaged(streams.either()));
      if ((run + 1) % kBatch != 0) continue;
      logged("");  // the log holds only so many records that nobody reads
      healthy.check(std::to_string(run));
      Healthy(server.port()).check("new " + std::to_string(run));
    }
    healthy.check("at the end");
  }
}
