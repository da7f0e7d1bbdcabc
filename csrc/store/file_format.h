// The bytes of a FileStore's file: a header, then records (docs/filestore.md). Encodes and decodes;
// pure: no file, no lock, no table. Decoders never throw and never read past what they are given.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "store/file_boot.h"
#include "wire/limits.h"

namespace rdzv::file_format {

// As PNG's: not text, and a transfer that changes line ends breaks it.
inline constexpr Bytes kMagic("\x89RDZFS\r\n", 8);
inline constexpr uint16_t kVersion = 2;
// Magic, u16 version, u16 size of the whole header, u32 CRC of these.
inline constexpr size_t kPreambleBytes = 16;
inline constexpr size_t kJobIdBytesMax = 1024;
// What a header of any version may have: its size is a u16.
inline constexpr size_t kHeaderBytesMax = 65'535;

// u32 body size, u32 CRC of the body, u32 CRC of these two: a damaged size must not make the
// records behind it look like an unfinished one.
inline constexpr size_t kRecordHeadBytes = 12;
inline constexpr size_t kBodyBytesMax = limits::kRequestBytesMax;
// A snapshot is cut into records of about this size.
inline constexpr size_t kSnapshotRecordBytes = 1024 * 1024;

enum class RecordType : uint8_t {
  kSet = 1,
  kAppend = 2,
  kDelete = 3,
  kMultiSet = 4,
  kSnapshot = 5,
  kPush = 6,
  kPop = 7,
  kSetFor = 8,
  kExpire = 9,
  kDeletePrefix = 10,
};

using FileId = std::array<uint8_t, 16>;

struct Header {
  FileId id{};  // 128 random bits; kept by compaction, new when the file is started afresh
  std::string job_id;
  BootId boot{};              // of the host that wrote it; zeros: not known
  uint64_t synced_bytes = 0;  // of the file, which were on the disk before it had its name
  size_t bytes = 0;           // its size in the file
  uint16_t version = 0;       // of the format
};

enum class HeaderStatus {
  kOk,
  kShort,    // the file ends before its header does; empty ones included
  kForeign,  // no store file
  kNewer,    // of another version of the format
  kDamaged,
};

// Id, job id, boot and synced_bytes. The size depends on the job id alone.
std::string encode_header(const Header& header);
// `start`: the first kHeaderBytesMax bytes of the file, or all of it.
HeaderStatus decode_header(Bytes start, Header& header);

struct RecordHead {
  uint32_t body_bytes = 0;
  uint32_t body_crc = 0;

  uint64_t record_bytes() const { return uint64_t{kRecordHeadBytes} + body_bytes; }
};

// `bytes`: at least kRecordHeadBytes. False: damaged.
bool decode_head(Bytes bytes, RecordHead& head);

// A decoded body; views into it. Reused from record to record, so that reading allocates nothing.
struct Record {
  struct Entry {
    Bytes key;
    Bytes value;
    uint64_t version = 0;
    uint64_t expires_ms = 0;  // 0: never
  };

  RecordType type = RecordType::kSet;
  Bytes key;                 // of all but kMultiSet, kSnapshot, kExpire; kDeletePrefix: the prefix
  Bytes value;               // kSet, kSetFor, kAppend, kPush
  std::vector<Bytes> pairs;  // kMultiSet: key, value, key, value...
  std::vector<Entry> entries;  // kSnapshot
  uint64_t version = 0;        // kSnapshot: the highest that was ever used
  uint64_t time_ms = 0;        // kSetFor: when it expires; kExpire: up to when keys do
};

enum class BodyStatus { kOk, kUnknownType, kMalformed };
BodyStatus decode_body(Bytes body, Record& record);

// Appends one record to `to`: begin, fields, end.
class RecordWriter {
 public:
  RecordWriter(std::string& to, RecordType type);
  RecordWriter& string(Bytes bytes);
  RecordWriter& u32(uint32_t number);
  RecordWriter& u64(uint64_t number);
  void end();  // fills in size and checksums

 private:
  std::string& to_;
  size_t start_;
};

}  // namespace rdzv::file_format
