#include "store/file_replica.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "store/file_image.h"

namespace rdzv {
namespace {

using file_format::Record;
using file_format::RecordType;
using file_format::RecordWriter;

// Growing a large table costs as much as filling it, and one that is half empty is searched with
// fewer looks into memory.
constexpr uint64_t kReserveMinBytes = 4 * 1024 * 1024;
constexpr uint64_t kSample = 8;  // the keys of the first part of so many say how many there are
constexpr size_t kRoomForKey = 2;

void restore(Table& table, const Record& snapshot) {
  for (const Record::Entry& entry : snapshot.entries) {
    std::optional<Instant> expires_at;
    if (entry.expires_ms != 0) expires_at = from_file_ms(entry.expires_ms);
    table.restore(entry.key, entry.value, entry.version, expires_at);
  }
  table.restore_version(snapshot.version);
}

void apply_record(Table& table, const Record& record) {
  switch (record.type) {
    case RecordType::kSet:
      table.set(record.key, record.value);
      break;
    case RecordType::kAppend:
      table.append(record.key, record.value);
      break;
    case RecordType::kDelete:
      table.erase(record.key);
      break;
    case RecordType::kMultiSet:
      table.multi_set(record.pairs);
      break;
    case RecordType::kPush:
      table.push(record.key, record.value);
      break;
    case RecordType::kPop:
      static_cast<void>(table.pop(record.key));
      break;
    case RecordType::kSnapshot:
      restore(table, record);
      break;
    case RecordType::kSetFor:
      table.set_for(record.key, record.value, from_file_ms(record.time_ms));
      break;
    case RecordType::kExpire:
      table.expire(from_file_ms(record.time_ms));
      break;
    case RecordType::kDeletePrefix:
      table.erase_prefix(record.key);
      break;
  }
}

}  // namespace

void FileReplica::TableSink::expect(uint64_t begin, uint64_t end) {
  if (end - begin >= kReserveMinBytes) reserve_at_ = begin + (end - begin) / kSample;
}

void FileReplica::TableSink::apply(Bytes body, uint64_t offset) {
  switch (file_format::decode_body(body, record_)) {
    case file_format::BodyStatus::kOk:
      break;
    case file_format::BodyStatus::kUnknownType:
      throw Error(ErrorCode::kUnsupported,
                  "FileStore " + path_ + ": the record at offset " + std::to_string(offset) +
                      " is of type " + std::to_string(static_cast<int>(record_.type)) +
                      ", which this version does not know; use the newest version of rendezvous "
                      "that any user of the file has");
    case file_format::BodyStatus::kMalformed:
      throw Error(ErrorCode::kProtocol, "FileStore " + path_ + ": the record at offset " +
                                            std::to_string(offset) +
                                            " is invalid although its checksum is right; stop the "
                                            "processes that use the file and remove it");
  }
  if (offset >= reserve_at_) {
    reserve_at_ = UINT64_MAX;
    table_->reserve(table_->size() * kSample * kRoomForKey);
  }
  apply_record(*table_, record_);
  if (listener_ != nullptr) listener_->table_changed(*table_);
}

FileReplica::FileReplica(FileLog log, file_format::Header header, uint64_t compact_min_bytes,
                         WallClock clock, Listener& listener)
    : log_(std::move(log)),
      header_(std::move(header)),
      compact_min_bytes_(compact_min_bytes),
      compact_at_(compact_min_bytes),
      clock_(clock),
      listener_(listener),
      table_(std::make_unique<Table>(random_seed())),
      sink_(*table_, log_.path(), &listener) {}

bool FileReplica::catch_up() {
  // What looks wrong is nearly always a writer at work, and gone when it is looked at again.
  constexpr int kLooks = 4;
  for (int i = 0; i < kLooks; ++i) {
    FileLog::Look look = i == 0 ? log_.glance() : log_.look();
    if (look == FileLog::Look::kReplaced) return reload();
    if (look == FileLog::Look::kGrown) {
      bring_back();
      if (table_->is_new()) sink_.expect(log_.offset(), log_.size());
      if (log_.read_new(sink_) == FileLog::Rest::kSuspect) continue;
    }
    set_aside(*table_);
    return true;
  }
  return false;
}

bool FileReplica::is_due(const Table& table) const {
  std::optional<Instant> next = table.next_expiry();
  return next && *next <= clock_();
}

void FileReplica::set_aside(Table& table) {
  if (!is_due(table)) return;
  Instant now = clock_();
  table.for_each_due(now, [this](Bytes key, const Table::Value& value, Instant at) {
    aside_.push_back({std::string(key), value, at});
  });
  table.expire(now);
  listener_.table_changed(table);
}

// Before a record is applied, which may speak of what was set aside: its writer's clock may be
// behind ours.
void FileReplica::bring_back() {
  for (const Aside& one : aside_)
    table_->restore(one.key, one.value.bytes, one.value.version, one.expires_at);
  aside_.clear();
}

void FileReplica::expire_due() {
  if (!is_due(*table_)) return;
  std::string record;
  file_format::RecordWriter writer(record, RecordType::kExpire);
  writer.u64(now_to_file_ms(clock_())).end();
  write(record);
}

bool FileReplica::catch_up_locked() {
  FileLog::Look look = log_.look();
  if (look == FileLog::Look::kReplaced) return false;
  bring_back();
  if (look == FileLog::Look::kGrown) log_.settle(log_.read_new(sink_));
  expire_due();
  return true;
}

bool FileReplica::reload() {
  bring_back();
  static_cast<void>(log_.read_new(sink_));  // it has grown no more
  FileLog fresh;
  file_format::Header header;
  do {
    FileFd fd = FileFd::open(log_.path().c_str(), O_RDWR | O_NOFOLLOW);
    if (!fd && errno == ENOENT) {
      throw Error(ErrorCode::kConnection,
                  "FileStore " + log_.path() +
                      " was removed or renamed while in use, and its values are lost; leave the "
                      "file alone until its last user has ended");
    }
    if (!fd) throw_file_error(log_.path(), "open", errno);
    bool shared = log_.is_shared();
    fresh = FileLog(std::move(fd), log_.path());
    fresh.set_shared(shared);
    if (fresh.read_header(header) != file_format::HeaderStatus::kOk || header.id != header_.id) {
      throw Error(ErrorCode::kRestarted, "FileStore " + log_.path() +
                                             " was replaced by another file while in use, and its "
                                             "values are lost; give each job its own file");
    }
  } while (fresh.look() == FileLog::Look::kReplaced);

  auto table = std::make_unique<Table>(random_seed());
  TableSink sink(*table, log_.path(), nullptr);
  sink.expect(fresh.offset(), fresh.size());
  FileLog::Rest rest = fresh.read_new(sink);
  if (table->version() < table_->version()) {
    throw Error(ErrorCode::kRestarted, "FileStore " + log_.path() +
                                           " was replaced by an older copy while in use; leave the "
                                           "file alone until its last user has ended");
  }
  set_aside(*table);
  listener_.table_replaced(*table_, *table);
  sink_.set_table(*table);
  table_ = std::move(table);
  log_ = std::move(fresh);
  compact_at_ = std::max(compact_min_bytes_, log_.offset());
  return rest != FileLog::Rest::kSuspect;
}

void FileReplica::write(Bytes record) {
  uint64_t offset = log_.offset();
  log_.append(record);
  sink_.apply(record.substr(file_format::kRecordHeadBytes), offset);
}

uint64_t FileReplica::live_bytes() const {
  constexpr uint64_t kBytesAnEntry = 24;  // version, time and two sizes
  constexpr uint64_t kBytesAnItem = file_format::kRecordHeadBytes + 9;  // type and two sizes
  uint64_t bytes = header_.bytes;
  table_->for_each_value([&](Bytes key, const Table::Value& value, auto) {
    bytes += kBytesAnEntry + key.size() + value.bytes.size();
  });
  table_->for_each_item(
      [&](Bytes key, Bytes item) { bytes += kBytesAnItem + key.size() + item.size(); });
  return bytes;
}

void FileReplica::compact_if_due() {
  uint64_t size = log_.offset();
  if (size <= compact_at_) return;
  // Looking costs as much as the table is large, so it is not done again at once.
  compact_at_ = size + size / 4;
  if (size <= kCompactRatio * live_bytes()) return;
  try {
    // Users of a file with a second name, or a moved one, would not notice that it was replaced.
    if (log_.status().st_nlink != 1 || !log_.is_named()) return;
    std::string refusal;
    std::optional<FileLog> fresh = replace_store_file(log_, header_, *table_, refusal);
    if (!fresh) {
      compact_at_ = 2 * size;
      rdzv::log(LogLevel::kInfo, "FileStore " + log_.path() + " is not compacted: " + refusal);
      return;
    }
    log_ = std::move(*fresh);
    compact_at_ = std::max(compact_min_bytes_, log_.offset());
  } catch (const Error& error) {
    compact_at_ = 2 * size;
    rdzv::log(LogLevel::kWarning, error.message() + "; " + log_.path() + " was not compacted");
  }
}

}  // namespace rdzv
