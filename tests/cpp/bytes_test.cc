// Little-endian fields, and how messages show keys and times.
#include <doctest/doctest.h>

#include <string>

#include "base/bytes.h"
#include "base/text.h"

using namespace rdzv;

namespace {

Bytes bytes(const char* data, size_t size) {
  return Bytes(data, size);
}

}  // namespace

TEST_CASE("numbers are little-endian whatever the machine") {
  std::string out;
  append_little_endian<uint8_t>(out, 0xFE);
  append_little_endian<uint16_t>(out, 0x0102);
  append_little_endian<uint32_t>(out, 0x03040506);
  append_little_endian<uint64_t>(out, 0xF708090A0B0C0D0E);
  CHECK(out == bytes("\xFE\x02\x01\x06\x05\x04\x03\x0E\x0D\x0C\x0B\x0A\x09\x08\xF7", 15));

  ByteReader reader(out);
  CHECK(reader.u8() == 0xFE);
  CHECK(reader.u16() == 0x0102);
  CHECK(reader.u32() == 0x03040506);
  CHECK(reader.u64() == 0xF708090A0B0C0D0E);
  CHECK(reader.ok());
  CHECK(reader.left() == 0);
}

TEST_CASE("negative numbers survive") {
  std::string out;
  append_little_endian<uint64_t>(out, static_cast<uint64_t>(INT64_MIN));
  append_little_endian<uint64_t>(out, static_cast<uint64_t>(int64_t{-1}));
  ByteReader reader(out);
  CHECK(reader.i64() == INT64_MIN);
  CHECK(reader.i64() == -1);
}

TEST_CASE("a short read takes nothing and fails for good") {
  ByteReader reader(bytes("\x01\x02\x03", 3));
  CHECK(reader.u16() == 0x0201);
  CHECK(reader.u32() == 0);
  CHECK_FALSE(reader.ok());
  CHECK(reader.position() == 2);
  CHECK(reader.u8() == 0);
  CHECK(reader.take(0).empty());
  CHECK_FALSE(reader.ok());
}

TEST_CASE("take compares sizes without overflow") {
  ByteReader reader(bytes("abc", 3));
  CHECK(reader.take(1) == "a");
  CHECK(reader.take(SIZE_MAX).empty());
  CHECK_FALSE(reader.ok());
}

TEST_CASE("an empty view can be read from") {
  ByteReader reader{Bytes()};
  CHECK(reader.take(0).empty());
  CHECK(reader.ok());
  CHECK(reader.u8() == 0);
  CHECK_FALSE(reader.ok());
}

TEST_CASE("messages show keys escaped and cut") {
  CHECK(printable("a line\n\x1b[2J") == "a line\\x0a\\x1b[2J");
  CHECK(quoted("key") == "'key'");
  CHECK(quoted(bytes("a\0\n\x7F", 4)) == "'a\\x00\\x0a\\x7f'");
  CHECK(quoted(std::string(121, 'x')) == "'" + std::string(120, 'x') + "...'");
  CHECK(quoted_list({"a", "b"}) == "'a', 'b'");
  CHECK(quoted_list(std::vector<Bytes>(12, "k")).ends_with("'k' and 2 more"));
}

TEST_CASE("messages show times without needless digits") {
  CHECK(seconds_text(std::chrono::seconds(5)) == "5 s");
  CHECK(seconds_text(std::chrono::milliseconds(250)) == "0.25 s");
  CHECK(seconds_text(Duration::zero()) == "0 s");
  CHECK(seconds_text(std::chrono::seconds(300)) == "300 s");
}

TEST_CASE("timeouts beyond any use become for ever") {
  CHECK(from_seconds(1.5) == std::chrono::milliseconds(1500));
  CHECK(from_seconds(-1) == Duration::zero());
  CHECK(from_seconds(1e300) == kForever);
  CHECK(Deadline::after(Duration::max()).timeout() == kForever);
  CHECK_FALSE(Deadline::after(kForever).passed());
  CHECK(Deadline::after(Duration::zero()).passed());
}
