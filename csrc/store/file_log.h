// One open file of a FileStore: knows how far it has been read, reads on, and appends. Knows
// records, but no keys. Serialised by its owner; no call blocks but on the disk.
//
// Whoever reads without the writer's lock may meet a record that is being written, or bytes that
// are being cut off. What looks wrong then is left for later; the verdict is spoken under the lock.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "store/file_fd.h"
#include "store/file_format.h"

struct stat;

namespace rdzv {

// How long a name is taken to lead to the file that it led to, if nothing happened to that file.
inline constexpr Duration kNameKept = std::chrono::milliseconds(50);

[[noreturn]] void throw_file_error(const std::string& path, const char* doing, int error);

class FileLog {
 public:
  class Sink {
   public:
    virtual ~Sink() = default;
    // A whole record with a good checksum. What it throws ends the reading before this record.
    virtual void apply(Bytes body, uint64_t offset) = 0;
  };

  enum class Look { kNothingNew, kGrown, kReplaced };

  // What follows the last whole record.
  enum class Rest {
    kNothing,
    kUnfinished,  // less than a record, or a last record with a bad checksum
    kSuspect,     // wrong bytes with more behind them
  };

  FileLog() = default;
  // `path`: absolute, without links. The offset is 0: read the header first.
  FileLog(FileFd fd, std::string path);

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  uint64_t offset() const { return offset_; }
  uint64_t size() const { return size_; }  // that look() saw
  // Of this open file among all of the process.
  uint64_t serial() const { return serial_; }
  void skip_to(uint64_t offset) { offset_ = size_ = offset; }
  // Whether other hosts may write the file, so that what the system remembers of it can be old.
  bool is_shared() const { return shared_; }
  void set_shared(bool shared) { shared_ = shared; }

  bool try_lock();
  void unlock();

  // Whether the file has grown since it was read, or has another in its place, or none: also if it
  // was moved.
  Look look();
  // The same for who only reads, at half the cost where nothing happens to the file for a while. A
  // directory above it that was moved is noticed within kNameKept.
  Look glance();
  file_format::HeaderStatus read_header(file_format::Header& header);
  // Reads up to the size that look() saw.
  Rest read_new(Sink& sink);
  // Under the lock, after read_new: cuts off what a dead writer left, or throws kProtocol, because
  // the file is damaged. Afterwards the file ends at offset().
  void settle(Rest rest);
  // Under the lock, nothing read yet but the header, and the host may have crashed since: cuts off
  // whatever follows the last whole record, unless it was on the disk before.
  void settle_after_crash(uint64_t synced_bytes);
  // Under the lock, settled: adds a record at the end. On an error the file is as before.
  void append(Bytes record);
  // Over the one that is there.
  void write_header(Bytes header);
  void cut_to(uint64_t offset);
  // Wait until the disk has the content, and that its name leads to it.
  void sync();
  void sync_name() const;

  // Whether its path still leads to it.
  bool is_named() const;
  struct stat status() const;

 private:
  Bytes read_at(uint64_t offset, size_t bytes_max);
  // Applies the whole records at the start of `chunk`. `wanted`: of the record that is not whole.
  Rest apply_whole(Bytes chunk, Sink& sink, uint64_t& wanted);
  // Behind the last byte that is not 0, at least offset().
  uint64_t end_of_content();
  bool ends_in_zeros();
  Look look_by_opening();
  Look take_size(const struct stat& found);

  FileFd fd_;
  std::string path_;
  bool shared_ = false;
  // When the file itself was changed last, as look() saw it, and when that was.
  timespec changed_{};
  Instant looked_{};
  uint64_t serial_ = 0;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  uint64_t offset_ = 0;  // what is before it was applied, or is the header
  uint64_t size_ = 0;
  std::unique_ptr<char[]> buffer_;
  size_t buffer_bytes_ = 0;
};

}  // namespace rdzv
