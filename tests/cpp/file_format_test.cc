// The bytes of a FileStore's file, and the checksum that guards them.
#include "store/file_format.h"

#include <doctest/doctest.h>

#include <string>

#include "base/crc32c.h"
#include "store/file_clock.h"

using namespace rdzv;
using namespace rdzv::file_format;

namespace {

constexpr FileId kId{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

Bytes body_of(const std::string& record) {
  return Bytes(record).substr(kRecordHeadBytes);
}

Header named(const std::string& job_id) {
  Header header;
  header.id = kId;
  header.job_id = job_id;
  header.boot = {9, 8, 7};
  header.synced_bytes = 123456;
  return header;
}

std::string set_record(Bytes key, Bytes value) {
  std::string record;
  RecordWriter(record, RecordType::kSet).string(key).string(value).end();
  return record;
}

}  // namespace

TEST_CASE("crc32c gives the published values") {
  CHECK(crc32c("") == 0);
  CHECK(crc32c("123456789") == 0xE3069283);
  CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AA);
  CHECK(crc32c(std::string(32, '\xFF')) == 0x62A8AB43);
}

TEST_CASE("crc32c is the same by the processor's instruction and by tables") {
  std::string bytes;
  for (int i = 0; i < 70; ++i) {
    CAPTURE(i);
    CHECK(crc32c(bytes) == crc32c_by_table(bytes));
    bytes.push_back(static_cast<char>(i * 37 + 11));
  }
}

TEST_CASE("a header comes back") {
  Header header;
  std::string bytes = encode_header(named("job 7"));
  CHECK(decode_header(bytes + "records", header) == HeaderStatus::kOk);
  CHECK(header.id == kId);
  CHECK(header.job_id == "job 7");
  CHECK(header.boot == BootId{9, 8, 7});
  CHECK(header.synced_bytes == 123456);
  CHECK(header.bytes == bytes.size());
}

TEST_CASE(
    "a header of before there were boot and synced bytes has none, and one with more is read") {
  for (size_t added : {0, 30}) {
    std::string bytes(kMagic);
    append_little_endian(bytes, kVersion);
    size_t known = added == 0 ? 0 : sizeof(BootId) + 8;
    append_little_endian(bytes, static_cast<uint16_t>(16 + 16 + 2 + 3 + known + added + 4));
    append_little_endian(bytes, crc32c(bytes));
    bytes.append(reinterpret_cast<const char*>(kId.data()), kId.size());
    append_little_endian(bytes, uint16_t{3});
    bytes.append("job" + std::string(known + added, '\1'));
    append_little_endian(bytes, crc32c(bytes));
    Header header = named("");
    CHECK(decode_header(bytes, header) == HeaderStatus::kOk);
    CHECK(header.job_id == "job");
    CHECK((header.boot == BootId{}) == (added == 0));
    CHECK((header.synced_bytes == 0) == (added == 0));
    CHECK(header.bytes == bytes.size());
  }
}

TEST_CASE("every start of a header is short, every changed byte is noticed") {
  Header header;
  const std::string bytes = encode_header(named("job"));
  for (size_t size = 0; size < bytes.size(); ++size)
    CHECK(decode_header(Bytes(bytes).substr(0, size), header) == HeaderStatus::kShort);
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string changed = bytes + "more";
    changed[at] = static_cast<char>(changed[at] ^ 0x10);
    HeaderStatus expected = at < kMagic.size() ? HeaderStatus::kForeign : HeaderStatus::kDamaged;
    CHECK(decode_header(changed, header) == expected);
  }
}

TEST_CASE("a header of another version is told from a damaged one") {
  std::string bytes = encode_header(named("job"));
  bytes[8] = 9;
  std::string preamble = bytes.substr(0, 12);
  append_little_endian(preamble, crc32c(preamble));
  Header header;
  CHECK(decode_header(preamble + bytes.substr(16), header) == HeaderStatus::kNewer);
  CHECK(header.version == 9);
}

TEST_CASE("a record comes back") {
  std::string record = set_record("key", "value");
  RecordHead head;
  CHECK(decode_head(record, head));
  CHECK(head.record_bytes() == record.size());
  CHECK(head.body_crc == crc32c(body_of(record)));
  Record decoded;
  CHECK(decode_body(body_of(record), decoded) == BodyStatus::kOk);
  CHECK(decoded.type == RecordType::kSet);
  CHECK(decoded.key == "key");
  CHECK(decoded.value == "value");
}

TEST_CASE("a snapshot comes back with its versions") {
  std::string record;
  RecordWriter writer(record, RecordType::kSnapshot);
  writer.u64(9).u32(2);
  writer.u64(4).u64(0).string("a").string("1").u64(9).u64(1234).string("").string("").end();
  Record decoded;
  CHECK(decode_body(body_of(record), decoded) == BodyStatus::kOk);
  CHECK(decoded.version == 9);
  CHECK(decoded.entries.size() == 2);
  CHECK(decoded.entries[0].version == 4);
  CHECK(decoded.entries[0].value == "1");
  CHECK(decoded.entries[0].expires_ms == 0);
  CHECK(decoded.entries[1].expires_ms == 1234);
}

TEST_CASE("records with times come back, and times that no clock reads are refused") {
  Record decoded;
  std::string record;
  RecordWriter(record, RecordType::kSetFor).u64(1234).string("key").string("value").end();
  CHECK(decode_body(body_of(record), decoded) == BodyStatus::kOk);
  CHECK(decoded.type == RecordType::kSetFor);
  CHECK(decoded.time_ms == 1234);
  CHECK(decoded.key == "key");
  CHECK(decoded.value == "value");
  for (uint64_t time : {uint64_t{0}, kFileTimeMaxMs, kFileTimeMaxMs + 1, UINT64_MAX}) {
    record.clear();
    RecordWriter(record, RecordType::kExpire).u64(time).end();
    bool fits = time <= kFileTimeMaxMs;
    CHECK(decode_body(body_of(record), decoded) ==
          (fits ? BodyStatus::kOk : BodyStatus::kMalformed));
    record.clear();
    RecordWriter writer(record, RecordType::kSnapshot);
    writer.u64(1).u32(1).u64(1).u64(time).string("a").string("1").end();
    CHECK(decode_body(body_of(record), decoded) ==
          (fits ? BodyStatus::kOk : BodyStatus::kMalformed));
  }
}

TEST_CASE("file times are rounded so that a key lives no shorter, and stay within the limits") {
  auto at = [](int64_t ns) { return Instant(Duration(ns)); };
  CHECK(expiry_to_file_ms(at(5'000'000)) == 5);
  CHECK(expiry_to_file_ms(at(5'000'001)) == 6);
  CHECK(now_to_file_ms(at(5'999'999)) == 5);
  CHECK(now_to_file_ms(at(-1)) == 1);
  CHECK(expiry_to_file_ms(at(INT64_MAX)) == kFileTimeMaxMs);
  CHECK(from_file_ms(5) == at(5'000'000));
}

TEST_CASE("a changed head is noticed, whatever its size says") {
  const std::string record = set_record("key", "value");
  for (size_t at = 0; at < kRecordHeadBytes; ++at) {
    std::string changed = record;
    changed[at] = static_cast<char>(changed[at] ^ 0x01);
    RecordHead head;
    CHECK_FALSE(decode_head(changed, head));
  }
  RecordHead head;
  CHECK_FALSE(decode_head(std::string(kRecordHeadBytes, '\0'), head));
}

TEST_CASE("a body that is not exactly its fields is refused") {
  Record decoded;
  std::string body(body_of(set_record("key", "value")));
  for (size_t size = 0; size < body.size(); ++size)
    CHECK(decode_body(Bytes(body).substr(0, size), decoded) == BodyStatus::kMalformed);
  CHECK(decode_body(body + "x", decoded) == BodyStatus::kMalformed);
  CHECK(decode_body("\x7F", decoded) == BodyStatus::kUnknownType);
}

TEST_CASE("sizes and counts that lie allocate nothing") {
  Record decoded;
  std::string many("\x04\xFF\xFF\xFF\xFF", 5);
  CHECK(decode_body(many, decoded) == BodyStatus::kMalformed);
  CHECK(decoded.pairs.size() <= 2);
  std::string key("\x03\xFF\xFF\xFF\x7F", 5);
  CHECK(decode_body(key, decoded) == BodyStatus::kMalformed);
}
