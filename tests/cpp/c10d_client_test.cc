// The client's side of the c10d protocol: bytes of requests and answers, and the store that speaks
// it to our server.
#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "client/tcp_store.h"
#include "fake_server.h"
#include "server/server.h"
#include "support.h"
#include "wire/c10d.h"
#include "wire/c10d_reply.h"
#include "wire/limits.h"

using namespace rdzv;
using c10d::Code;
using c10d::Progress;
using rdzv::test::answered_error_of;
using rdzv::test::Exact;
using rdzv::test::Fields;
using rdzv::test::kHang;

namespace {

constexpr Duration kShort = std::chrono::milliseconds(20);

std::string encoded(Code code, const std::vector<Bytes>& strings, int64_t number = 0) {
  std::string out;
  c10d::put_request(out, code, strings, number);
  return out;
}

// "7 'a' 'b'", "need more" or "invalid"; `left` gets what the answer did not use.
std::string decoded(Code code, size_t keys, Bytes input, size_t step, size_t& left) {
  c10d::ReplyDecoder decoder(code, keys);
  c10d::Reply reply;
  for (size_t size = 0;; size = std::min(size + step, input.size())) {
    Exact exact(input.substr(0, size));
    size_t used = 0;
    Progress progress = decoder.next(exact.view(), reply, used);
    if (progress == Progress::kInvalid) return "invalid";
    if (progress == Progress::kRequest) {
      left = size - used;
      std::string text = std::to_string(reply.number);
      for (Bytes string : reply.strings) text += " '" + std::string(string) + "'";
      return text;
    }
    if (size == input.size()) return "need more";
  }
}

struct Case {
  Code code;
  size_t keys;
  std::string bytes;
  std::string text;
};

std::vector<Case> answers() {
  return {
      {Code::kCheck, 0, Fields().u8(1).bytes, "1"},
      {Code::kWait, 0, Fields().u8(0).bytes, "0"},
      {Code::kPing, 0, Fields().u32(0xFFFFFFFF).bytes, "4294967295"},
      {Code::kAdd, 0, Fields().u64(static_cast<uint64_t>(-5)).bytes, "-5"},
      {Code::kCompareSet, 0, Fields().string64("v").bytes, "0 'v'"},
      {Code::kGet, 0, Fields().string64("").bytes, "0 ''"},
      {Code::kMultiGet, 2, Fields().string64("a").string64("bc").bytes, "0 'a' 'bc'"},
      {Code::kListKeys, 0, Fields().u64(2).string64("/a").string64("init/").bytes,
       "2 '/a' 'init/'"},
      {Code::kListKeys, 0, Fields().u64(0).bytes, "0"},
      {Code::kQueuePop, 0, Fields().u64(0).bytes, "0"},
      {Code::kQueuePop, 0, Fields().u64(3).string64("first").bytes, "3 'first'"},
  };
}

ErrorCode code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kOk;
}

// A server in whose kernel an empty value stays that nothing is sent behind, as in that of torch's
// server without libuv, but for ever. Every key has an empty value.
struct HoldingServer {
  std::atomic<int> pings{0};
  test::FakeServer server{{[this](test::Link& link) { serve(link); }}};

  TCPStore::Options options() {
    TCPStore::Options options = test::options_for(server.port(), kHang);
    options.protocol = TCPStore::Protocol::kC10d;
    return options;
  }

 private:
  void serve(test::Link& link) {
    c10d::Decoder decoder;
    std::string in, out;
    while (link.read_some(&in)) {
      for (c10d::Request request; !in.empty();) {
        size_t used = 0;
        if (decoder.next(in, request, used) != Progress::kRequest) break;
        if (answer(request, out)) link.write(std::exchange(out, {}));
        in.erase(0, used);
      }
    }
  }

  // Whether what is to be sent leaves.
  bool answer(const c10d::Request& request, std::string& out) {
    switch (request.code) {
      case Code::kCompareSet:
      case Code::kGet:
      case Code::kMultiGet:
        for (size_t n = request.code == Code::kMultiGet ? request.strings.size() : 1; n > 0; --n)
          c10d::put_bytes(out, "");
        return false;
      case Code::kWait:
      case Code::kCheck:
        c10d::put_u8(out, 0);
        return true;
      case Code::kPing:
        ++pings;
        c10d::put_u32(out, static_cast<uint32_t>(request.number));
        return true;
      default:
        return true;
    }
  }
};

struct Scene {
  Server server{"127.0.0.1", 0};
  std::shared_ptr<TCPStore> store = client();

  std::shared_ptr<TCPStore> client() {
    TCPStore::Options options;
    options.host = "127.0.0.1";
    options.port = server.port();
    options.timeout = kHang;
    options.protocol = TCPStore::Protocol::kC10d;
    return TCPStore::open(options);
  }
};

}  // namespace

TEST_CASE("requests are the bytes of the protocol") {
  CHECK(encoded(Code::kValidate, {}, c10d::kMagic) == std::string("\x00\xCE\xF7\x85\x3C", 5));
  CHECK(encoded(Code::kSet, {"/k", "v"}) == Fields().u8(1).string64("/k").string64("v").bytes);
  CHECK(encoded(Code::kAdd, {"/k"}, -1) ==
        Fields().u8(4).string64("/k").u64(static_cast<uint64_t>(-1)).bytes);
  CHECK(encoded(Code::kWait, {"/a", "/b"}) ==
        Fields().u8(6).u64(2).string64("/a").string64("/b").bytes);
  CHECK(encoded(Code::kCheck, {}) == Fields().u8(5).u64(0).bytes);
  CHECK(encoded(Code::kMultiSet, {"/a", "1", "/b", "2"}) ==
        Fields().u8(11).u64(2).string64("/a").string64("1").string64("/b").string64("2").bytes);
  CHECK(encoded(Code::kPing, {}, 7) == Fields().u8(13).u32(7).bytes);
  CHECK(encoded(Code::kBarrier, {"/k"}, 3) == Fields().u8(18).string64("/k").u64(3).bytes);
}

TEST_CASE("our decoder reads the requests that our client makes") {
  std::string bytes = encoded(Code::kMultiSet, {"/a", "1"}) + encoded(Code::kAdd, {"/n"}, 5);
  c10d::Decoder decoder;
  c10d::Request request;
  size_t used = 0;
  REQUIRE(decoder.next(bytes, request, used) == Progress::kRequest);
  CHECK(test::shown(request) == "MULTI_SET(/a, 1)");
  REQUIRE(decoder.next(Bytes(bytes).substr(used), request, used) == Progress::kRequest);
  CHECK(request.code == Code::kAdd);
  CHECK(request.number == 5);
}

TEST_CASE("answers are read whole, byte by byte, and with bytes behind them") {
  for (const Case& answer : answers()) {
    CAPTURE(c10d::name_of(answer.code));
    size_t left = 0;
    CHECK(decoded(answer.code, answer.keys, answer.bytes, answer.bytes.size(), left) ==
          answer.text);
    CHECK(left == 0);
    CHECK(decoded(answer.code, answer.keys, answer.bytes, 1, left) == answer.text);
    CHECK(left == 0);
    std::string more = answer.bytes + "more";
    CHECK(decoded(answer.code, answer.keys, more, more.size(), left) == answer.text);
    CHECK(left == 4);
    Bytes cut = Bytes(answer.bytes).substr(0, answer.bytes.size() - 1);
    CHECK(decoded(answer.code, answer.keys, cut, 1, left) == "need more");
  }
}

TEST_CASE("answers that cannot be are refused before anything is reserved for them") {
  size_t left = 0;
  CHECK(decoded(Code::kWait, 0, Fields().u8(2).bytes, 1, left) == "invalid");
  CHECK(decoded(Code::kGet, 0, Fields().u64(limits::kValueBytesMax + 1).bytes, 8, left) ==
        "invalid");
  CHECK(decoded(Code::kGet, 0, Fields().u64(~uint64_t{0}).bytes, 8, left) == "invalid");
  CHECK(decoded(Code::kListKeys, 0, Fields().u64(~uint64_t{0}).bytes, 8, left) == "invalid");
  CHECK(decoded(Code::kListKeys, 0, Fields().u64(uint64_t{1} << 60).bytes, 8, left) == "need more");
}

TEST_CASE("calls that wait hold up no other") {
  Scene scene;
  std::vector<std::thread> waiting;
  std::vector<std::string> values(8);
  for (std::string& value : values) {
    waiting.emplace_back([&] { value = scene.store->get("k", kHang); });
  }
  CHECK(scene.store->add("n", 1) == 1);
  scene.store->set("k", "v");
  for (std::thread& thread : waiting) thread.join();
  CHECK(values == std::vector<std::string>(8, "v"));
}

TEST_CASE("a wait that is cancelled leaves its connection in step") {
  Scene scene;
  for (int i = 1; i <= 20; ++i) {
    CHECK(answered_error_of([&] { scene.store->wait({"k"}, kShort); }).code() ==
          ErrorCode::kTimeout);
    // Or no answer, on a busy machine.
    CHECK_THROWS_AS(scene.store->barrier("b", 1000, Duration::zero()), Error);
    CHECK(scene.store->add("n", 1) == i);
  }
  CHECK(scene.store->get("b", kHang) == "1");
}

TEST_CASE("a wait that is answered while it is cancelled is a success or a timeout, never a mix") {
  Scene scene;
  std::shared_ptr<TCPStore> other = scene.client();
  for (int i = 0; i < 200; ++i) {
    std::string key = "k" + std::to_string(i);
    std::thread setter([&] { other->set(key, key); });
    std::string value = key;
    ErrorCode code =
        code_of([&] { value = scene.store->get(key, std::chrono::microseconds(100)); });
    setter.join();
    CHECK((code == ErrorCode::kOk || code == ErrorCode::kTimeout));
    CHECK(value == key);
    CHECK(scene.store->get(key, kHang) == key);
  }
}

TEST_CASE("what waits for a key that is a queue, or a queue that is a key, ends in time") {
  Scene scene;
  scene.store->queue_push("q", "item");
  scene.store->set("k", "v");
  CHECK(answered_error_of([&] { scene.store->get("q", kShort); }).code() == ErrorCode::kTimeout);
  CHECK(answered_error_of([&] { scene.store->multi_get({"q", "k"}, kShort); }).code() ==
        ErrorCode::kTimeout);
  CHECK(answered_error_of([&] { scene.store->queue_pop("k", true, kShort); }).code() ==
        ErrorCode::kTimeout);
  CHECK(scene.store->queue_pop("q", true, kHang) == "item");
}

TEST_CASE("close ends the calls that wait") {
  Scene scene;
  ErrorCode code = ErrorCode::kOk;
  std::thread waiting([&] { code = code_of([&] { scene.store->get("never", kHang); }); });
  scene.store->close();
  waiting.join();
  CHECK(code == ErrorCode::kClosed);
  CHECK(code_of([&] { scene.store->ping(); }) == ErrorCode::kClosed);
}

TEST_CASE("a server that hangs up ends one call, and the store goes on") {
  Scene scene;
  scene.store->set("k", "text");
  CHECK(code_of([&] { scene.store->add("k", 1); }) == ErrorCode::kConnection);
  CHECK(scene.store->get("k", kHang) == "text");
}

TEST_CASE("an empty value that the server's kernel holds back is drawn out") {
  HoldingServer held;
  const std::shared_ptr<TCPStore> store = TCPStore::open(held.options());
  CHECK(store->get("k", kHang).empty());
  CHECK(store->multi_get({"a", "b"}, kHang) == std::vector<std::string>(2));
  CHECK(store->try_get("k").version == 1);
  CHECK(store->compare_exchange("k", "", "").swapped);
}

TEST_CASE("a server that was seen to hold a value back is asked for it at once") {
  HoldingServer held;
  const std::shared_ptr<TCPStore> store = TCPStore::open(held.options());
  for (int i = 0; i < 20; ++i) store->try_get("k");
  CHECK(held.pings == 1 + 20);  // one was the greeting
}
