// The native protocol: frames, bodies, greetings; golden bytes of each, and what is refused.
#include "wire/messages.h"

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

#include "support.h"
#include "wire/limits.h"

using namespace rdzv;
using namespace rdzv::test;
using native::Progress;

namespace {

Bytes bytes(const char* data, size_t size) {
  return Bytes(data, size);
}

// The strings of a list of items, or nothing if it is refused.
std::optional<std::vector<Bytes>> strings_of(const Exact& body, size_t strings_an_item) {
  ByteReader reader(body.view());
  std::vector<Bytes> strings;
  bool taken = native::take_strings(reader, strings_an_item, strings);
  CHECK(strings.capacity() <= body.view().size());  // nothing is reserved for what is not there
  if (!taken) return std::nullopt;
  CHECK(reader.left() == 0);
  return strings;
}

bool takes_hello(Bytes body) {
  Exact exact(body);
  native::HelloRequest hello;
  return native::take(exact.view(), hello);
}

bool takes_hello_reply(Bytes body) {
  Exact exact(body);
  native::HelloReply hello;
  return native::take(exact.view(), hello);
}

}  // namespace

TEST_CASE("the bytes of a frame") {
  native::Header header;
  header.operation = 3;
  header.status = 2;
  header.channel = 0x0102;
  header.id = 0x030405060708;
  std::string out = "before";
  size_t begin = native::begin_frame(out, header);
  CHECK(begin == 6);
  out += "body!";
  native::end_frame(out, begin);
  CHECK(out == bytes("before\x05\0\0\0\x03\x02\x02\x01\x08\x07\x06\x05\x04\x03\0\0body!", 27));
}

TEST_CASE("a frame comes back as it went") {
  std::string out;
  native::Header header;
  header.operation = 0x8F;
  header.status = 11;
  header.channel = 0xFFFF;
  header.id = UINT64_MAX;
  size_t begin = native::begin_frame(out, header);
  out.append(300, 'x');
  native::end_frame(out, begin);

  native::Frame frame;
  Exact exact(out);
  REQUIRE(native::next_frame(exact.view(), frame) == Progress::kTaken);
  CHECK(frame.header.body_bytes == 300);
  CHECK(frame.header.operation == 0x8F);
  CHECK(frame.header.status == 11);
  CHECK(frame.header.channel == 0xFFFF);
  CHECK(frame.header.id == UINT64_MAX);
  CHECK(frame.body == std::string(300, 'x'));
}

TEST_CASE("the size of a frame is limited, and known from its header alone") {
  native::Frame frame;
  std::string header = Fields().u32(limits::kRequestBytesMax).u32(0).u64(0).bytes;
  CHECK(native::next_frame(header, frame) == Progress::kNeedMore);
  header = Fields().u32(limits::kRequestBytesMax + 1).u32(0).u64(0).bytes;
  CHECK(native::next_frame(header, frame) == Progress::kMalformed);
  CHECK(frame.header.body_bytes == limits::kRequestBytesMax + 1);
  CHECK(native::next_frame(Bytes(header).substr(0, 15), frame) == Progress::kNeedMore);
}

TEST_CASE("the bytes of the fields") {
  std::string out;
  native::put_u8(out, 0xFE);
  native::put_u32(out, 0x01020304);
  native::put_u64(out, 0x05060708090A0B0C);
  native::put_string(out, "key");
  CHECK(out == bytes("\xFE\x04\x03\x02\x01\x0C\x0B\x0A\x09\x08\x07\x06\x05\x03\0\0\0key", 20));
}

TEST_CASE("a string above its limit is refused before it is taken") {
  std::string out;
  native::put_string(out, "12345");
  ByteReader fits(out);
  CHECK(native::take_string(fits, 5) == "12345");
  CHECK(fits.ok());
  ByteReader too_long(out);
  CHECK(native::take_string(too_long, 4).empty());
  CHECK_FALSE(too_long.ok());
}

TEST_CASE("a string that is cut is refused") {
  Exact cut(Fields().u32(6).raw("12345").bytes);
  ByteReader reader(cut.view());
  CHECK(native::take_string(reader, 100).empty());
  CHECK_FALSE(reader.ok());
}

TEST_CASE("lists of keys and of pairs") {
  Exact keys(Fields().u32(2).string32("a").string32("").bytes);
  CHECK(strings_of(keys, 1) == std::vector<Bytes>{"a", ""});
  Exact pairs(Fields().u32(2).string32("a").string32("1").string32("b").string32("2").bytes);
  CHECK(strings_of(pairs, 2) == std::vector<Bytes>{"a", "1", "b", "2"});
  CHECK(strings_of(Exact(Fields().u32(0).bytes), 2) == std::vector<Bytes>{});
}

TEST_CASE("lists that are cut, too long or lie about their number are refused") {
  CHECK_FALSE(strings_of(Exact(""), 1));
  CHECK_FALSE(strings_of(Exact(Fields().u16(0).bytes), 1));
  CHECK_FALSE(strings_of(Exact(Fields().u32(2).string32("a").bytes), 1));
  CHECK_FALSE(strings_of(Exact(Fields().u32(1).string32("a").bytes), 2));
  for (uint64_t count : {uint64_t{UINT32_MAX}, uint64_t{limits::kKeysPerRequestMax} + 1,
                         uint64_t{limits::kKeysPerRequestMax}, uint64_t{1} << 31})
    CHECK_FALSE(strings_of(Exact(Fields().u32(count).string32("a").bytes), 2));
}

TEST_CASE("as many keys as the limit allows are taken") {
  std::string body = Fields().u32(limits::kKeysPerRequestMax).bytes;
  body.append(4 * limits::kKeysPerRequestMax, '\0');
  CHECK(strings_of(Exact(body), 1)->size() == limits::kKeysPerRequestMax);
  body.append(4, '\0');
  body[0] = 1;  // one more than the limit
  CHECK_FALSE(strings_of(Exact(body), 1));
}

TEST_CASE("keys in lists have the limit of keys, values that of values") {
  std::string long_one(limits::kWireKeyBytesMax + 1, 'k');
  CHECK_FALSE(strings_of(Exact(Fields().u32(1).string32(long_one).bytes), 1));
  CHECK(strings_of(Exact(Fields().u32(1).string32("k").string32(long_one).bytes), 2));
  CHECK_FALSE(strings_of(Exact(Fields().u32(1).string32(long_one).string32("v").bytes), 2));
}

TEST_CASE("the bytes of a preamble") {
  std::string out;
  native::put_preamble(out);
  CHECK(out == bytes("RDZV\x02\0\x02\0", 8));
  CHECK(out.size() == native::kPreambleBytes);
  native::Preamble preamble;
  REQUIRE(native::take_preamble(out, preamble) == Progress::kTaken);
  CHECK(preamble.version_min == native::kVersion);
  CHECK(preamble.version_max == native::kVersion);
  CHECK(native::take_preamble("RDZX1234", preamble) == Progress::kNotMine);
  CHECK(native::take_preamble("RX", preamble) == Progress::kNotMine);
  CHECK(native::take_preamble("RDZV123", preamble) == Progress::kNeedMore);
}

TEST_CASE("the bytes of a HELLO") {
  native::HelloRequest hello;
  hello.features = 0x01020304;
  for (uint8_t i = 0; i < 16; ++i) hello.session[i] = i;
  hello.space = "secret";
  hello.client = "me";
  std::string out;
  native::put(out, hello);
  CHECK(out == Fields()
                   .u32(0x01020304)
                   .u64(0x0706050403020100)
                   .u64(0x0F0E0D0C0B0A0908)
                   .string32("secret")
                   .string32("me")
                   .bytes);

  native::HelloRequest taken;
  REQUIRE(native::take(out, taken));
  CHECK(taken.features == hello.features);
  CHECK(taken.session == hello.session);
  CHECK(taken.space == "secret");
  CHECK(taken.client == "me");
}

TEST_CASE("a HELLO that is cut or has bytes left over is refused") {
  std::string out;
  native::put(out, native::HelloRequest{});
  CHECK(takes_hello(out));
  for (size_t size = 0; size < out.size(); ++size)
    CHECK_FALSE(takes_hello(Bytes(out).substr(0, size)));
  CHECK_FALSE(takes_hello(out + "x"));
}

TEST_CASE("texts in a HELLO are limited") {
  std::string longest(limits::kTextBytesMax, 't');
  native::HelloRequest hello;
  hello.client = longest;
  std::string out;
  native::put(out, hello);
  CHECK(takes_hello(out));
  longest += 't';
  hello.client = longest;
  out.clear();
  native::put(out, hello);
  CHECK_FALSE(takes_hello(out));
}

TEST_CASE("the answer to a HELLO comes back as it went") {
  native::HelloReply hello;
  hello.features = 7;
  hello.instance.fill(0xAB);
  hello.observed_address = "10.0.0.1";
  hello.server = "a server";
  hello.key_bytes_max = 1;
  hello.value_bytes_max = 2;
  hello.keys_per_request_max = 3;
  std::string out;
  native::put(out, hello);
  CHECK(out == Fields()
                   .u16(native::kVersion)
                   .u32(7)
                   .raw(std::string(16, '\xAB'))
                   .string32("10.0.0.1")
                   .string32("a server")
                   .u32(1)
                   .u32(2)
                   .u32(3)
                   .bytes);

  native::HelloReply taken;
  REQUIRE(native::take(out, taken));
  CHECK(taken.version == native::kVersion);
  CHECK(taken.features == 7);
  CHECK(taken.instance == hello.instance);
  CHECK(taken.observed_address == "10.0.0.1");
  CHECK(taken.server == "a server");
  CHECK(taken.key_bytes_max == 1);
  CHECK(taken.value_bytes_max == 2);
  CHECK(taken.keys_per_request_max == 3);
  for (size_t size = 0; size < out.size(); ++size)
    CHECK_FALSE(takes_hello_reply(Bytes(out).substr(0, size)));
  CHECK_FALSE(takes_hello_reply(out + "x"));
}

TEST_CASE("every operation has a name") {
  for (int operation = 1; operation <= native::kOperationMax; ++operation)
    CHECK(std::string(native::name_of(static_cast<native::Operation>(operation))).size() >= 3);
}
