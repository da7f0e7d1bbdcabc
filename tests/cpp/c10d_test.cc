// The bytes of torch's TCPStore: what each request decodes to, what is refused and in which words,
// and the bytes of the answers.
#include "wire/c10d.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support.h"
#include "wire/limits.h"

using namespace rdzv;
using namespace rdzv::test;
using c10d::Code;
using c10d::Progress;

namespace {

Bytes bytes(const char* data, size_t size) {
  return Bytes(data, size);
}

// The one request that `input` is, as text; or what is wrong with it.
std::string decoded(Bytes input) {
  c10d::Decoder decoder;
  c10d::Request request;
  size_t used = 0;
  Exact exact(input);
  Progress progress = decoder.next(exact.view(), request, used);
  if (progress == Progress::kNeedMore) return "need more";
  if (progress == Progress::kInvalid) return "invalid: " + decoder.error();
  CHECK(used == input.size());
  return shown(request);
}

// The beginning of a request: its code and a size or count.
std::string beginning(Code code, uint64_t size) {
  return Fields().u8(static_cast<uint8_t>(code)).u64(size).bytes;
}

}  // namespace

TEST_CASE("the first bytes of a torch client are a VALIDATE") {
  CHECK(c10d_validate() == bytes("\x00\xCE\xF7\x85\x3C", 5));
  CHECK(decoded(bytes("\x00\xCE\xF7\x85\x3C", 5)) == "VALIDATE(; 1015412686)");
  CHECK(int64_t{c10d::kMagic} == 1015412686);
}

TEST_CASE("the bytes of a PING") {
  CHECK(decoded(bytes("\x0D\x67\x12\x00\x00", 5)) == "PING(; 4711)");
  CHECK(decoded(c10d_ping(0xFFFFFFFF)) == "PING(; 4294967295)");
}

TEST_CASE("the bytes of a SET") {
  const char raw[] =
      "\x01"
      "\x02\0\0\0\0\0\0\0/k"
      "\x03\0\0\0\0\0\0\0val";
  CHECK(decoded(bytes(raw, sizeof(raw) - 1)) == "SET(/k, val)");
}

TEST_CASE("the bytes of a BARRIER") {
  const char raw[] =
      "\x12"
      "\x02\0\0\0\0\0\0\0/b"
      "\x03\0\0\0\0\0\0";
  CHECK(decoded(bytes(raw, sizeof(raw))) == "BARRIER(/b; 3)");
}

TEST_CASE("every request is decoded") {
  CHECK(decoded(c10d_request(Code::kSet, {"", ""})) == "SET(, )");
  CHECK(decoded(c10d_request(Code::kCompareSet, {"k", "old", "new"})) ==
        "COMPARE_SET(k, old, new)");
  CHECK(decoded(c10d_request(Code::kGet, {"k"})) == "GET(k)");
  CHECK(decoded(c10d_add("k", 5)) == "ADD(k; 5)");
  CHECK(decoded(c10d_add("k", INT64_MIN)) == "ADD(k; -9223372036854775808)");
  CHECK(decoded(c10d_request(Code::kCheck, {"a", "b"})) == "CHECK(a, b)");
  CHECK(decoded(c10d_request(Code::kWait, {"a"})) == "WAIT(a)");
  CHECK(decoded(c10d_request(Code::kNumKeys)) == "GETNUMKEYS()");
  CHECK(decoded(c10d_request(Code::kDeleteKey, {"k"})) == "DELETE_KEY(k)");
  CHECK(decoded(c10d_request(Code::kAppend, {"k", "v"})) == "APPEND(k, v)");
  CHECK(decoded(c10d_request(Code::kMultiGet, {"a", "b", "c"})) == "MULTI_GET(a, b, c)");
  CHECK(decoded(c10d_request(Code::kMultiSet, {"a", "1", "b", "2"})) == "MULTI_SET(a, 1, b, 2)");
  CHECK(decoded(c10d_request(Code::kCancelWait)) == "CANCEL_WAIT()");
  CHECK(decoded(c10d_request(Code::kQueuePush, {"q", "item"})) == "QUEUE_PUSH(q, item)");
  CHECK(decoded(c10d_request(Code::kQueuePop, {"q"})) == "QUEUE_POP(q)");
  CHECK(decoded(c10d_request(Code::kQueueLen, {"q"})) == "QUEUE_LEN(q)");
  CHECK(decoded(c10d_request(Code::kListKeys)) == "LIST_KEYS()");
  CHECK(decoded(c10d_barrier("b", 4)) == "BARRIER(b; 4)");
}

TEST_CASE("lists may be empty") {
  CHECK(decoded(c10d_request(Code::kCheck)) == "CHECK()");
  CHECK(decoded(c10d_request(Code::kWait)) == "WAIT()");
  CHECK(decoded(c10d_request(Code::kMultiGet)) == "MULTI_GET()");
  CHECK(decoded(c10d_request(Code::kMultiSet)) == "MULTI_SET()");
}

TEST_CASE("keys and values may hold any byte") {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  CHECK(decoded(c10d_request(Code::kSet, {all, all})) == "SET(" + all + ", " + all + ")");
}

TEST_CASE("nothing is no request yet") {
  CHECK(decoded("") == "need more");
}

TEST_CASE("a request without a number has number 0, whatever came before") {
  c10d::Decoder decoder;
  c10d::Request request;
  size_t used = 0;
  REQUIRE(decoder.next(c10d_ping(77), request, used) == Progress::kRequest);
  std::string get = c10d_request(Code::kGet, {"k"});
  REQUIRE(decoder.next(get, request, used) == Progress::kRequest);
  CHECK(request.number == 0);
  REQUIRE(decoder.next(c10d_ping(1), request, used) == Progress::kRequest);
  CHECK(request.strings.empty());
}

TEST_CASE("an unknown code is refused at its first byte") {
  CHECK(decoded(bytes("\x13", 1)) == "invalid: unknown operation code 19");
  CHECK(decoded(bytes("\xFF", 1)) == "invalid: unknown operation code 255");
}

TEST_CASE("keys up to the limit are taken, with the slash that clients put before them") {
  std::string longest(limits::kWireKeyBytesMax, 'k');
  CHECK(decoded(c10d_request(Code::kGet, {longest})) == "GET(" + longest + ")");
  CHECK(decoded(beginning(Code::kGet, limits::kWireKeyBytesMax + 1)) ==
        "invalid: GET with a key of 16386 bytes; the limit is 16385, and 268435456 for the whole "
        "request");
}

TEST_CASE("values have a larger limit than keys") {
  auto set = [](uint64_t size) { return Fields().u8(1).string64("k").u64(size).bytes; };
  CHECK(decoded(set(limits::kValueBytesMax)) == "need more");
  CHECK(decoded(set(limits::kValueBytesMax + 1)) ==
        "invalid: SET with a value of 67108865 bytes; the limit is 67108864, and 268435456 for the "
        "whole request");
}

TEST_CASE("an item of a queue is a value, and its name a key") {
  auto push = [](uint64_t size) { return Fields().u8(0x0E).string64("q").u64(size).bytes; };
  CHECK(decoded(push(limits::kValueBytesMax)) == "need more");
  CHECK(decoded(push(limits::kValueBytesMax + 1)).starts_with("invalid: QUEUE_PUSH with a value"));
  for (Code code : {Code::kQueuePush, Code::kQueuePop, Code::kQueueLen, Code::kBarrier}) {
    std::string text = decoded(beginning(code, limits::kWireKeyBytesMax + 1));
    CHECK(text.starts_with("invalid: " + std::string(c10d::name_of(code)) + " with a key of"));
  }
}

TEST_CASE("sizes that would overflow are refused") {
  for (uint64_t size :
       {UINT64_MAX, UINT64_MAX - 7, UINT64_MAX - 8, uint64_t{1} << 63, uint64_t{1} << 32}) {
    CAPTURE(size);
    CHECK(decoded(beginning(Code::kGet, size)).starts_with("invalid: GET with a key of "));
    CHECK(decoded(beginning(Code::kMultiSet, size)).starts_with("invalid: MULTI_SET of "));
  }
}

TEST_CASE("every second string of a MULTI_SET is a value") {
  Fields fields;
  fields.u8(0x0B).u64(2).string64("a").string64(std::string(20'000, 'v'));
  CHECK(decoded(fields.bytes) == "need more");
  fields.u64(20'000);
  CHECK(decoded(fields.bytes).starts_with("invalid: MULTI_SET with a key of 20000 bytes"));
}

TEST_CASE("the number of keys is limited") {
  CHECK(decoded(beginning(Code::kMultiGet, limits::kKeysPerRequestMax)) == "need more");
  CHECK(decoded(beginning(Code::kWait, limits::kKeysPerRequestMax + 1)) ==
        "invalid: WAIT of 131073 keys; the limit is 131072");
  std::string most = beginning(Code::kCheck, limits::kKeysPerRequestMax);
  most.append(8 * limits::kKeysPerRequestMax, '\0');
  CHECK(decoded(most).size() > limits::kKeysPerRequestMax);
}

TEST_CASE("a request as a whole is limited") {
  // Four values of the largest size, of which only the fields between are ever touched.
  constexpr size_t kItem = 8 + 1 + 8 + limits::kValueBytesMax;
  std::unique_ptr<char[]> raw(new char[9 + 4 * kItem]);
  auto put = [&](size_t at, Bytes field) { field.copy(raw.get() + at, field.size()); };
  put(0, beginning(Code::kMultiSet, 4));
  for (size_t i = 0; i < 4; ++i)
    put(9 + i * kItem, Fields().string64("k").u64(limits::kValueBytesMax).bytes);

  c10d::Decoder decoder;
  c10d::Request request;
  size_t used = 0;
  CHECK(decoder.next(Bytes(raw.get(), 9 + 3 * kItem), request, used) == Progress::kNeedMore);
  CHECK(decoder.next(Bytes(raw.get(), 9 + 4 * kItem), request, used) == Progress::kInvalid);
  CHECK(decoder.error().ends_with("and 268435456 for the whole request"));
}

TEST_CASE("the bytes of the answers") {
  std::string out;
  c10d::put_u8(out, c10d::kStopWaiting);
  c10d::put_u8(out, c10d::kWaitCanceled);
  c10d::put_u32(out, 4711);
  c10d::put_i64(out, -2);
  c10d::put_bytes(out, "abc");
  c10d::put_bytes(out, "");
  CHECK(out == bytes("\x00\x01\x67\x12\x00\x00\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF"
                     "\x03\x00\x00\x00\x00\x00\x00\x00"
                     "abc\x00\x00\x00\x00\x00\x00\x00\x00",
                     33));
}

TEST_CASE("every code has a name") {
  for (int code = 0; code <= 0x12; ++code)
    CHECK(std::string(c10d::name_of(static_cast<Code>(code))).size() >= 3);
}
