#include "store/file_image.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "store/file_access.h"
#include "store/file_clock.h"

namespace rdzv {
namespace {

using file_format::Header;
using file_format::Record;
using file_format::RecordType;
using file_format::RecordWriter;

// Writes the whole table as snapshot records.
class SnapshotWriter {
 public:
  SnapshotWriter(FileLog& log, const Table& table) : log_(log), table_(table) {}

  void write() {
    table_.for_each_value([this](Bytes key, const Table::Value& value, auto expires_at) {
      uint64_t expires_ms = expires_at ? expiry_to_file_ms(*expires_at) : 0;
      batch_.push_back({key, value.bytes, value.version, expires_ms});
      batch_bytes_ += key.size() + value.bytes.size();
      if (batch_bytes_ >= file_format::kSnapshotRecordBytes) flush();
    });
    flush();  // an empty one too: it carries the version
    table_.for_each_item([this](Bytes key, Bytes item) {
      buffer_.clear();
      RecordWriter(buffer_, RecordType::kPush).string(key).string(item).end();
      log_.append(buffer_);
    });
  }

 private:
  void flush() {
    buffer_.clear();
    RecordWriter writer(buffer_, RecordType::kSnapshot);
    writer.u64(table_.version()).u32(static_cast<uint32_t>(batch_.size()));
    for (const Record::Entry& entry : batch_) {
      writer.u64(entry.version).u64(entry.expires_ms);
      writer.string(entry.key).string(entry.value);
    }
    writer.end();
    log_.append(buffer_);
    batch_.clear();
    batch_bytes_ = 0;
  }

  FileLog& log_;
  const Table& table_;
  std::string buffer_;
  std::vector<Record::Entry> batch_;
  size_t batch_bytes_ = 0;
};

// Removes the file unless it got its final name.
struct Unfinished {
  const std::string& path;
  bool finished = false;
  ~Unfinished() {
    if (!finished) ::unlink(path.c_str());
  }
};

bool is_refusal(int error) {
  return error == EPERM || error == EACCES || error == EROFS || error == EEXIST;
}

std::string refused(const std::string& path, const char* doing, int error) {
  return std::string("not allowed to ") + doing + " " + path + " (" + errno_text(error) + ")";
}

}  // namespace

std::optional<FileLog> replace_store_file(const FileLog& before, const Header& header,
                                          const Table& table, std::string& refusal) {
  const std::string path = before.path() + ".compact";
  ::unlink(path.c_str());  // of a writer that died here
  FileFd fd = FileFd::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (!fd && is_refusal(errno)) {
    refusal = refused(path, "make", errno);
    return std::nullopt;
  }
  if (!fd) throw_file_error(path, "make", errno);
  Unfinished unfinished{path};
  if (!share_as(before, fd.get())) {
    refusal = "a file that replaces " + before.path() + " would have another owner";
    return std::nullopt;
  }
  FileLog log(std::move(fd), before.path());
  log.set_shared(before.is_shared());
  Header complete = header;
  log.append(file_format::encode_header(complete));
  if (!table.is_new()) SnapshotWriter(log, table).write();
  complete.synced_bytes = log.offset();
  log.write_header(file_format::encode_header(complete));
  // Before it has its name: else a crash could leave the name without the content, and other hosts
  // could see it so.
  log.sync();
  if (::rename(path.c_str(), before.path().c_str()) != 0) {
    if (!is_refusal(errno)) throw_file_error(before.path(), "replace", errno);
    refusal = refused(before.path(), "replace", errno);
    return std::nullopt;
  }
  unfinished.finished = true;
  log.sync_name();
  return log;
}

void restart_store_file(FileLog& log, const Header& header) {
  log.cut_to(0);
  // Else a crash could leave the new header before old records.
  log.sync();
  Header complete = header;
  complete.synced_bytes = file_format::encode_header(complete).size();
  log.append(file_format::encode_header(complete));
  log.sync();
  log.sync_name();
}

}  // namespace rdzv
