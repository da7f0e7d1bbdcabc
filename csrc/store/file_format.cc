#include "store/file_format.h"

#include <algorithm>

#include "base/crc32c.h"
#include "store/file_clock.h"

namespace rdzv::file_format {
namespace {

// Boot and synced_bytes.
constexpr size_t kSyncBytes = sizeof(BootId) + 8;

Bytes read_string(ByteReader& reader, size_t bytes_max) {
  uint32_t size = reader.u32();
  // A size over the limit cannot be taken, so the reader fails.
  return reader.take(size <= bytes_max ? size : SIZE_MAX);
}

uint64_t read_time(ByteReader& reader) {
  uint64_t ms = reader.u64();
  if (ms > kFileTimeMaxMs) reader.take(SIZE_MAX);
  return ms;
}

void read_pairs(ByteReader& reader, Record& record) {
  record.pairs.clear();
  uint32_t count = reader.u32();
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    record.pairs.push_back(read_string(reader, limits::kKeyBytesMax));
    record.pairs.push_back(read_string(reader, limits::kValueBytesMax));
  }
}

void read_snapshot(ByteReader& reader, Record& record) {
  record.entries.clear();
  record.version = reader.u64();
  uint32_t count = reader.u32();
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    Record::Entry entry;
    entry.version = reader.u64();
    entry.expires_ms = read_time(reader);
    entry.key = read_string(reader, limits::kKeyBytesMax);
    entry.value = read_string(reader, limits::kValueBytesMax);
    record.entries.push_back(entry);
  }
}

void put_u32(char* to, uint32_t number) {
  for (int i = 0; i < 4; ++i) to[i] = static_cast<char>(static_cast<uint8_t>(number >> (8 * i)));
}

}  // namespace

std::string encode_header(const Header& header) {
  std::string text(kMagic);
  append_little_endian(text, kVersion);
  size_t bytes = kPreambleBytes + header.id.size() + 2 + header.job_id.size() + kSyncBytes + 4;
  append_little_endian(text, static_cast<uint16_t>(bytes));
  append_little_endian(text, crc32c(text));
  text.append(reinterpret_cast<const char*>(header.id.data()), header.id.size());
  append_little_endian(text, static_cast<uint16_t>(header.job_id.size()));
  text.append(header.job_id);
  text.append(reinterpret_cast<const char*>(header.boot.data()), header.boot.size());
  append_little_endian(text, header.synced_bytes);
  append_little_endian(text, crc32c(text));
  return text;
}

HeaderStatus decode_header(Bytes start, Header& header) {
  if (!start.starts_with(kMagic.substr(0, start.size()))) return HeaderStatus::kForeign;
  if (start.size() < kPreambleBytes) return HeaderStatus::kShort;
  ByteReader reader(start);
  reader.take(kMagic.size());
  header.version = reader.u16();
  size_t bytes = reader.u16();
  if (reader.u32() != crc32c(start.substr(0, kPreambleBytes - 4))) return HeaderStatus::kDamaged;
  if (header.version != kVersion) return HeaderStatus::kNewer;
  if (start.size() < bytes) return HeaderStatus::kShort;
  if (bytes < kPreambleBytes + 4) return HeaderStatus::kDamaged;
  Bytes id = reader.take(header.id.size());
  header.job_id = reader.take(reader.u16());
  // Later versions of the code may put more fields here.
  if (!reader.ok() || reader.position() + 4 > bytes) return HeaderStatus::kDamaged;
  if (load_little_endian<uint32_t>(start.data() + bytes - 4) != crc32c(start.substr(0, bytes - 4)))
    return HeaderStatus::kDamaged;
  std::copy(id.begin(), id.end(), header.id.begin());
  header.boot = {};
  header.synced_bytes = 0;
  // Files of an earlier version of the code do not have these.
  if (reader.position() + kSyncBytes + 4 <= bytes) {
    Bytes boot = reader.take(header.boot.size());
    std::copy(boot.begin(), boot.end(), header.boot.begin());
    header.synced_bytes = reader.u64();
  }
  header.bytes = bytes;
  return HeaderStatus::kOk;
}

bool decode_head(Bytes bytes, RecordHead& head) {
  ByteReader reader(bytes);
  head.body_bytes = reader.u32();
  head.body_crc = reader.u32();
  return reader.u32() == crc32c(bytes.substr(0, kRecordHeadBytes - 4)) && reader.ok();
}

BodyStatus decode_body(Bytes body, Record& record) {
  ByteReader reader(body);
  record.type = static_cast<RecordType>(reader.u8());
  switch (record.type) {
    case RecordType::kSet:
    case RecordType::kAppend:
    case RecordType::kPush:
      record.key = read_string(reader, limits::kKeyBytesMax);
      record.value = read_string(reader, limits::kValueBytesMax);
      break;
    case RecordType::kSetFor:
      record.time_ms = read_time(reader);
      record.key = read_string(reader, limits::kKeyBytesMax);
      record.value = read_string(reader, limits::kValueBytesMax);
      break;
    case RecordType::kExpire:
      record.time_ms = read_time(reader);
      break;
    case RecordType::kDelete:
    case RecordType::kDeletePrefix:
    case RecordType::kPop:
      record.key = read_string(reader, limits::kKeyBytesMax);
      break;
    case RecordType::kMultiSet:
      read_pairs(reader, record);
      break;
    case RecordType::kSnapshot:
      read_snapshot(reader, record);
      break;
    default:
      return body.empty() ? BodyStatus::kMalformed : BodyStatus::kUnknownType;
  }
  return reader.ok() && reader.left() == 0 ? BodyStatus::kOk : BodyStatus::kMalformed;
}

RecordWriter::RecordWriter(std::string& to, RecordType type) : to_(to), start_(to.size()) {
  to_.append(kRecordHeadBytes, '\0');
  to_.push_back(static_cast<char>(type));
}

RecordWriter& RecordWriter::string(Bytes bytes) {
  append_little_endian(to_, static_cast<uint32_t>(bytes.size()));
  to_.append(bytes);
  return *this;
}

RecordWriter& RecordWriter::u32(uint32_t number) {
  append_little_endian(to_, number);
  return *this;
}

RecordWriter& RecordWriter::u64(uint64_t number) {
  append_little_endian(to_, number);
  return *this;
}

void RecordWriter::end() {
  char* head = to_.data() + start_;
  Bytes body = Bytes(to_).substr(start_ + kRecordHeadBytes);
  put_u32(head, static_cast<uint32_t>(body.size()));
  put_u32(head + 4, crc32c(body));
  put_u32(head + 8, crc32c(Bytes(head, 8)));
}

}  // namespace rdzv::file_format
