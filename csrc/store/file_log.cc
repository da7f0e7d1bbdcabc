#include "store/file_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/vfs.h>
#endif

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/log.h"
#include "store/file_lock.h"

namespace rdzv {
namespace {

constexpr size_t kChunkBytes = 64 * 1024;
// A buffer that one large record needed is not kept.
constexpr size_t kBufferKeptBytes = 1024 * 1024;

// Known to be of this host alone; any other might be a network's, where looking costs more.
bool on_shared_file_system(int fd) {
#ifdef __linux__
  constexpr uint32_t kLocal[] = {0xEF53 /* ext2, 3, 4 */, 0x58465342 /* xfs */,
                                 0x9123683E /* btrfs */,  0x01021994 /* tmpfs */,
                                 0x858458F6 /* ramfs */,  0x794C7630 /* overlayfs */,
                                 0xF2F52010 /* f2fs */,   0x2FC12FC1 /* zfs */};
  struct statfs info{};
  if (::fstatfs(fd, &info) != 0) return true;
  auto type = static_cast<uint32_t>(info.f_type);
  return std::find(std::begin(kLocal), std::end(kLocal), type) == std::end(kLocal);
#else
  static_cast<void>(fd);
  return true;
#endif
}

timespec change_time(const struct stat& found) {
#ifdef __APPLE__
  return found.st_ctimespec;
#else
  return found.st_ctim;
#endif
}

}  // namespace

void throw_file_error(const std::string& path, const char* doing, int error) {
  throw Error(ErrorCode::kConnection,
              std::string("FileStore cannot ") + doing + " " + path + ": " + errno_text(error));
}

FileLog::FileLog(FileFd fd, std::string path)
    : fd_(std::move(fd)), path_(std::move(path)), shared_(on_shared_file_system(fd_.get())) {
  static std::atomic<uint64_t> count{0};
  serial_ = ++count;
  struct stat ours = status();
  device_ = ours.st_dev;
  inode_ = ours.st_ino;
}

bool FileLog::try_lock() {
  return rdzv::try_lock(fd_.get(), LockKind::kExclusive, path_);
}

void FileLog::unlock() {
  rdzv::unlock(fd_.get());
}

struct stat FileLog::status() const {
  struct stat found{};
  if (::fstat(fd_.get(), &found) != 0) throw_file_error(path_, "stat", errno);
  return found;
}

// By name, as whoever comes later will look: the file that we have open may have another name now.
FileLog::Look FileLog::look() {
  if (shared_) return look_by_opening();
  struct stat named{};
  if (::stat(path_.c_str(), &named) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return Look::kReplaced;
    throw_file_error(path_, "stat", errno);
  }
  if (named.st_ino != inode_ || named.st_dev != device_) return Look::kReplaced;
  changed_ = change_time(named);
  looked_ = now();
  return take_size(named);
}

// Renaming and removing a file change the time of its last change, which some systems count in
// steps of 10 ms: so it is trusted once it is older.
FileLog::Look FileLog::glance() {
  constexpr int64_t kStepNs = 20'000'000;
  if (shared_ || now() - looked_ > kNameKept) return look();
  struct stat ours = status();
  timespec change = change_time(ours);
  timespec current{};
  ::clock_gettime(CLOCK_REALTIME, &current);
  if (change.tv_sec != changed_.tv_sec || change.tv_nsec != changed_.tv_nsec) return look();
  int64_t age_ns =
      (current.tv_sec - change.tv_sec) * 1'000'000'000 + current.tv_nsec - change.tv_nsec;
  if (age_ns < kStepNs) return look();
  return take_size(ours);
}

FileLog::Look FileLog::take_size(const struct stat& found) {
  size_ = static_cast<uint64_t>(found.st_size);
  if (size_ == offset_) return Look::kNothingNew;
  if (size_ > offset_) return Look::kGrown;
  throw Error(ErrorCode::kProtocol,
              "FileStore " + path_ + " was truncated by another program: it has " +
                  std::to_string(size_) + " bytes, and " + std::to_string(offset_) +
                  " were read before; leave the file alone while it is in use");
}

// Opening a file makes a network file system ask the server what there is.
FileLog::Look FileLog::look_by_opening() {
  FileFd by_name = FileFd::open(path_.c_str(), O_RDONLY | O_NONBLOCK);
  if (!by_name) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ESTALE) return Look::kReplaced;
    throw_file_error(path_, "stat", errno);
  }
  struct stat named{};
  struct stat ours{};
  if (::fstat(by_name.get(), &named) != 0) throw_file_error(path_, "stat", errno);
  if (::fstat(fd_.get(), &ours) != 0) {
    if (errno == ESTALE) return Look::kReplaced;
    throw_file_error(path_, "stat", errno);
  }
  if (named.st_ino != ours.st_ino || named.st_dev != ours.st_dev) return Look::kReplaced;
  // Shorter: what the system remembers may be older than what was read.
  size_ = std::max(offset_, static_cast<uint64_t>(named.st_size));
  return size_ > offset_ ? Look::kGrown : Look::kNothingNew;
}

Bytes FileLog::read_at(uint64_t offset, size_t bytes_max) {
  if (bytes_max > buffer_bytes_) {
    buffer_bytes_ = std::max(bytes_max, kChunkBytes);
    buffer_ = std::make_unique_for_overwrite<char[]>(buffer_bytes_);
  }
  size_t done = 0;
  while (done < bytes_max) {
    ssize_t got = ::pread(fd_.get(), buffer_.get() + done, bytes_max - done,
                          static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_file_error(path_, "read", errno);
    if (got == 0) break;  // cut off meanwhile
    done += static_cast<size_t>(got);
  }
  return Bytes(buffer_.get(), done);
}

file_format::HeaderStatus FileLog::read_header(file_format::Header& header) {
  using file_format::HeaderStatus;
  Bytes start = read_at(0, file_format::kHeaderBytesMax);
  HeaderStatus status = file_format::decode_header(start, header);
  if (status == HeaderStatus::kOk) skip_to(header.bytes);
  if (status != HeaderStatus::kForeign && status != HeaderStatus::kDamaged) return status;
  // Zeros after the first part of a header, or alone, are one that never reached the disk.
  Bytes part = start.substr(0, start.find_last_not_of('\0') + 1);
  if (file_format::decode_header(part, header) != HeaderStatus::kShort) return status;
  size_ = static_cast<uint64_t>(this->status().st_size);
  offset_ = std::min<uint64_t>(start.size(), size_);
  return end_of_content() == offset_ ? HeaderStatus::kShort : status;
}

FileLog::Rest FileLog::apply_whole(Bytes chunk, Sink& sink, uint64_t& wanted) {
  while (!chunk.empty()) {
    wanted = file_format::kRecordHeadBytes;
    if (chunk.size() < wanted) return Rest::kUnfinished;
    file_format::RecordHead head;
    if (!file_format::decode_head(chunk, head)) return Rest::kSuspect;
    wanted = head.record_bytes();
    if (chunk.size() < wanted) return Rest::kUnfinished;
    Bytes body = chunk.substr(file_format::kRecordHeadBytes, head.body_bytes);
    if (crc32c(body) != head.body_crc)
      return offset_ + wanted == size_ ? Rest::kUnfinished : Rest::kSuspect;
    sink.apply(body, offset_);
    offset_ += wanted;
    chunk.remove_prefix(wanted);
  }
  return Rest::kNothing;
}

FileLog::Rest FileLog::read_new(Sink& sink) {
  uint64_t wanted = 0;
  while (offset_ < size_) {
    uint64_t left = size_ - offset_;
    uint64_t before = offset_;
    auto bytes = static_cast<size_t>(std::min(left, std::max<uint64_t>(wanted, kChunkBytes)));
    Bytes chunk = read_at(offset_, bytes);
    if (chunk.empty()) return Rest::kUnfinished;
    Rest rest = apply_whole(chunk, sink, wanted);
    if (rest == Rest::kSuspect) return rest;
    if (rest == Rest::kNothing) {
      wanted = 0;
      continue;
    }
    // The rest of a record is read only when all of it is there, and is of a size that can be.
    if (wanted > size_ - offset_ || chunk.size() < bytes) return rest;
    if (wanted > file_format::kRecordHeadBytes + file_format::kBodyBytesMax) return Rest::kSuspect;
    if (offset_ == before && wanted <= chunk.size()) return rest;  // a bad checksum at the end
  }
  if (buffer_bytes_ > kBufferKeptBytes) {
    buffer_.reset();
    buffer_bytes_ = 0;
  }
  return Rest::kNothing;
}

uint64_t FileLog::end_of_content() {
  for (uint64_t end = size_; end > offset_;) {
    uint64_t begin = end - std::min<uint64_t>(end - offset_, kChunkBytes);
    Bytes chunk = read_at(begin, static_cast<size_t>(end - begin));
    size_t last = chunk.find_last_not_of('\0');
    if (last != Bytes::npos) return begin + last + 1;
    end = begin;
  }
  return offset_;
}

// Zeros are what a host's crash leaves where data never reached the disk: from anywhere in a record
// to the end of the file.
bool FileLog::ends_in_zeros() {
  uint64_t end = end_of_content();
  if (end < offset_ + file_format::kRecordHeadBytes) return true;
  file_format::RecordHead head;
  Bytes bytes = read_at(offset_, file_format::kRecordHeadBytes);
  if (bytes.size() < file_format::kRecordHeadBytes || !file_format::decode_head(bytes, head))
    return false;
  return end < offset_ + head.record_bytes();
}

void FileLog::cut_to(uint64_t offset) {
  if (::ftruncate(fd_.get(), static_cast<off_t>(offset)) != 0)
    throw_file_error(path_, "remove an unfinished record from", errno);
  skip_to(offset);
}

void FileLog::settle(Rest rest) {
  if (rest == Rest::kNothing) return;
  if (rest == Rest::kSuspect && !ends_in_zeros()) {
    throw Error(ErrorCode::kProtocol, "FileStore " + path_ + " is damaged at offset " +
                                          std::to_string(offset_) + " of " + std::to_string(size_) +
                                          ": the checksum of a record is wrong; stop the processes "
                                          "that use it and remove the file");
  }
  uint64_t bytes = size_ - offset_;
  cut_to(offset_);
  log(LogLevel::kWarning, "FileStore " + path_ + ": removed " + std::to_string(bytes) +
                              " bytes at offset " + std::to_string(offset_) +
                              ": a record that its writer did not finish");
}

void FileLog::settle_after_crash(uint64_t synced_bytes) {
  // Only looks whether they are whole.
  struct : Sink {
    void apply(Bytes, uint64_t) override {}
  } whole;
  uint64_t begin = offset_;
  size_ = static_cast<uint64_t>(status().st_size);
  if (size_ > offset_ && read_new(whole) == Rest::kSuspect && offset_ >= synced_bytes) {
    uint64_t bytes = size_ - offset_;
    cut_to(offset_);
    // Else the next crash could bring back what is cut off, behind what is written now.
    sync();
    log(LogLevel::kWarning, "FileStore " + path_ + ": removed " + std::to_string(bytes) +
                                " bytes at offset " + std::to_string(offset_) +
                                ": a record that was not completely on disk when a host went down");
  }
  skip_to(begin);
}

void FileLog::sync() {
  int result = 0;
  while ((result = ::fsync(fd_.get())) != 0 && errno == EINTR) {
  }
  if (result != 0) throw_file_error(path_, "flush", errno);
}

void FileLog::sync_name() const {
  std::string folder = path_.substr(0, path_.find_last_of('/') + 1);
  FileFd fd = FileFd::open(folder.c_str(), O_RDONLY | O_DIRECTORY);
  int result = fd ? ::fsync(fd.get()) : -1;
  if (result == 0) return;
  // A directory that may not be read, and some network file systems, do not allow it.
  if (errno == EACCES || errno == EINVAL || errno == ENOTSUP || errno == EBADF) return;
  log(LogLevel::kWarning, "FileStore " + path_ + ": cannot flush the directory " + folder +
                              " to disk: " + errno_text(errno) +
                              "; a power failure may bring back the previous file");
}

void FileLog::write_header(Bytes header) {
  if (::pwrite(fd_.get(), header.data(), header.size(), 0) != static_cast<ssize_t>(header.size()))
    throw_file_error(path_, "write to", errno);
}

void FileLog::append(Bytes record) {
  size_t done = 0;
  while (done < record.size()) {
    ssize_t wrote = ::pwrite(fd_.get(), record.data() + done, record.size() - done,
                             static_cast<off_t>(offset_ + done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) {
      int error = errno;
      // Gives the space back. If it fails, the next writer finds the rest and cuts it off.
      static_cast<void>(::ftruncate(fd_.get(), static_cast<off_t>(offset_)) == 0);
      throw_file_error(path_, "write to", error);
    }
    done += static_cast<size_t>(wrote);
  }
  offset_ += record.size();
  size_ = offset_;
}

bool FileLog::is_named() const {
  struct stat ours = status();
  struct stat named{};
  return ::stat(path_.c_str(), &named) == 0 && named.st_ino == ours.st_ino &&
         named.st_dev == ours.st_dev;
}

}  // namespace rdzv
