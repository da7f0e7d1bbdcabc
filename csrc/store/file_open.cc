#include "store/file_open.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "base/text.h"
#include "store/file_access.h"
#include "store/file_image.h"
#include "store/file_lock.h"
#include "store/table.h"

namespace rdzv {
namespace {

using file_format::Header;
using file_format::HeaderStatus;

// For find_lock_holder; what a timeout takes longer by.
constexpr Duration kHolderSearch = std::chrono::milliseconds(50);

std::string lock_path(const std::string& path) {
  return path + ".lock";
}

// Whether `path` still leads to the lock file that `users` is.
bool is_named(const FileFd& users, const std::string& path) {
  struct stat ours{};
  struct stat named{};
  return ::fstat(users.get(), &ours) == 0 && ::stat(path.c_str(), &named) == 0 &&
         ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

[[noreturn]] void throw_cannot_open(const std::string& path, int error) {
  std::string text = "FileStore cannot open " + path + ": ";
  std::string folder = path.substr(0, path.find_last_of('/') + 1);
  if (error == EISDIR) {
    text += "it is a directory; name a file in it";
  } else if (error == ENOENT && !folder.empty() && ::access(folder.c_str(), F_OK) != 0) {
    text += "the directory " + folder + " does not exist; create it first";
  } else {
    text += errno_text(error);
  }
  throw Error(ErrorCode::kConnection, text);
}

// Links are followed here once: compaction replaces the file itself, not a link to it.
std::string real_path(const std::string& path) {
  std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr), &std::free);
  if (!real) throw_cannot_open(path, errno);
  return real.get();
}

// Throws unless it is a store file of ours, or not yet one.
void refuse_strange(HeaderStatus status, const Header& header, const std::string& path) {
  switch (status) {
    case HeaderStatus::kOk:
    case HeaderStatus::kShort:
      return;
    case HeaderStatus::kForeign:
      throw Error(
          ErrorCode::kProtocol,
          "FileStore cannot use " + path +
              ": it is not a FileStore file, and was not changed; use another file or remove it");
    case HeaderStatus::kNewer:
      throw Error(
          ErrorCode::kUnsupported,
          "FileStore cannot use " + path + ": its format is version " +
              std::to_string(header.version) + ", but this version of rendezvous reads version " +
              std::to_string(file_format::kVersion) + "; use another file or another version");
    case HeaderStatus::kDamaged:
      throw Error(ErrorCode::kProtocol,
                  "FileStore " + path +
                      " is damaged at offset 0: the checksum of its header is wrong; stop the "
                      "processes that use it and remove the file");
  }
}

// Without creating first: in a directory that anybody may write to, the system may refuse O_CREAT
// for a file of another user that is there (fs.protected_regular), whatever its mode.
FileFd open_or_make(const std::string& path, int flags, unsigned mode) {
  while (true) {
    FileFd fd = FileFd::open(path.c_str(), flags);
    if (fd || errno != ENOENT) return fd;
    fd = FileFd::open(path.c_str(), flags | O_CREAT, mode);
    int error = errno;
    // Somebody else may have made it in between.
    if (fd || error != EACCES || ::access(path.c_str(), F_OK) != 0) {
      errno = error;
      return fd;
    }
  }
}

class Opening {
 public:
  Opening(const std::string& path, const std::string& job_id, const BootId& boot, Duration timeout)
      : path_(path), job_id_(job_id), boot_(boot), backoff_(timeout) {}

  // Nothing: the file was replaced meanwhile, or somebody else is opening it.
  std::optional<OpenedFile> attempt() {
    waits_at_ = path_;
    waits_for_ = "another program keeps replacing ";
    FileLog log = open_file();
    Header header;
    // Looked at before the lock file is made, so that nothing appears beside a foreign file.
    refuse_strange(log.read_header(header), header, log.path());
    lock_writer(log);
    if (!log.is_named()) return std::nullopt;
    // Under the lock, so that nobody meets it before it may be used by all who may use the file.
    FileFd users = open_users(log);
    const std::optional<bool> found = lock_users(log, users);
    if (!found) return std::nullopt;
    const bool alone = *found;
    if (!is_named(users, lock_path(log.path()))) return std::nullopt;
    HeaderStatus status = log.read_header(header);
    refuse_strange(status, header, log.path());
    if (starts_afresh(status, header, alone, log)) {
      make_afresh(log);
      status = log.read_header(header);
      refuse_strange(status, header, log.path());
    } else if (alone && header.boot != BootId{} && boot_ != BootId{} && header.boot != boot_) {
      log.settle_after_crash(header.synced_bytes);
    }
    log.unlock();
    if (alone && !try_lock(users.get(), LockKind::kShared, lock_path(log.path())))
      throw_file_error(lock_path(log.path()), "lock", EAGAIN);
    return OpenedFile{std::move(log), std::move(header), std::move(users)};
  }

  // Before what it waits for is tried again.
  void pause() {
    if (backoff_.pause()) return;
    std::string holder = find_lock_holder(waits_at_, kHolderSearch);
    throw Error(ErrorCode::kNoAnswer, "opening FileStore " + path_ + " timeout after " +
                                          seconds_text(backoff_.elapsed()) + ": " + waits_for_ +
                                          waits_at_ + (holder.empty() ? "" : ": " + holder));
  }

 private:
  FileLog open_file() {
    // Without O_NONBLOCK, opening a pipe could wait for ever.
    FileFd fd = open_or_make(path_, O_RDWR | O_NOCTTY | O_NONBLOCK, 0600);
    if (!fd) throw_cannot_open(path_, errno);
    FileLog log(std::move(fd), real_path(path_));
    if (!S_ISREG(log.status().st_mode)) {
      throw Error(ErrorCode::kConnection,
                  "FileStore cannot open " + path_ + ": it is not a regular file");
    }
    return log;
  }

  static FileFd open_users(const FileLog& log) {
    std::string path = lock_path(log.path());
    mode_t mode = log.status().st_mode & 0666;
    FileFd users = open_or_make(path, O_RDWR | O_NOFOLLOW, mode);
    if (!users && errno == EACCES) {
      throw Error(
          ErrorCode::kConnection,
          "FileStore cannot use " + path + ": " + errno_text(errno) +
              "; every user of the store needs write permission for this file and its directory");
    }
    if (!users) throw_file_error(path, "make", errno);
    // Whoever may use the file may use the lock, whatever our umask; fails if it is another's.
    static_cast<void>(share_as(log, users.get()));
    return users;
  }

  void lock_writer(FileLog& log) {
    while (!log.try_lock()) {
      waits_at_ = log.path();
      waits_for_ = "another process writes to ";
      pause();
    }
  }

  // Whether nobody else has the store open; then the lock is exclusive. Under the writer's lock,
  // which nobody keeps while waiting: nothing is said, and all is to be tried again.
  std::optional<bool> lock_users(const FileLog& log, const FileFd& users) {
    std::string path = lock_path(log.path());
    if (try_lock(users.get(), LockKind::kExclusive, path)) return true;
    if (try_lock(users.get(), LockKind::kShared, path)) return false;
    waits_at_ = path;
    waits_for_ = "another process holds ";
    return std::nullopt;
  }

  // Whether what is in the file is nobody's any more. Throws if it is another job's.
  bool starts_afresh(HeaderStatus status, const Header& header, bool alone, const FileLog& log) {
    if (status == HeaderStatus::kShort) {
      if (log.status().st_size == 0) return true;
      if (!alone) {
        throw Error(ErrorCode::kProtocol,
                    "FileStore " + log.path() +
                        " was truncated while in use; stop the processes that use it");
      }
      rdzv::log(LogLevel::kWarning,
                "FileStore " + log.path() + " was too short for a header, and was reset");
      return true;
    }
    if (!alone) {
      if (header.job_id == job_id_) return false;
      throw Error(ErrorCode::kAddressInUse,
                  "FileStore " + log.path() + " is in use by the job with job_id " +
                      quoted(header.job_id) + ", not " + quoted(job_id_) +
                      "; wait until that job has ended, or give this job its own file");
    }
    if (!job_id_.empty() && header.job_id == job_id_) return false;
    rdzv::log(LogLevel::kInfo,
              "FileStore " + log.path() + " was reset: it was left over from " +
                  (header.job_id.empty() ? std::string("a job without a job_id")
                                         : "the job with job_id " + quoted(header.job_id)));
    return true;
  }

  void make_afresh(FileLog& log) {
    Header header;
    fill_random(header.id.data(), header.id.size());
    header.job_id = job_id_;
    header.boot = boot_;
    std::string refusal;
    if (std::optional<FileLog> fresh = replace_store_file(log, header, Table(), refusal)) {
      log = std::move(*fresh);
    } else {
      restart_store_file(log, header);
    }
  }

  const std::string& path_;
  const std::string& job_id_;
  const BootId boot_;
  LockBackoff backoff_;
  // For the message.
  std::string waits_at_;
  const char* waits_for_ = "";
};

}  // namespace

OpenedFile open_store_file(const std::string& path, const std::string& job_id, const BootId& boot,
                           Duration timeout) {
  if (path.empty() || path.find('\0') != std::string::npos)
    throw Error(ErrorCode::kInvalidArgument, "FileStore: " + quoted(path) + " is not a file name");
  if (job_id.size() > file_format::kJobIdBytesMax) {
    throw Error(ErrorCode::kLimit, "FileStore " + path + ": the job_id has " +
                                       std::to_string(job_id.size()) + " bytes; the limit is " +
                                       std::to_string(file_format::kJobIdBytesMax));
  }
  Opening opening(path, job_id, boot, timeout);
  while (true) {
    if (std::optional<OpenedFile> opened = opening.attempt()) return std::move(*opened);
    opening.pause();
  }
}

void tidy_up(const std::string& path, const FileFd& users) {
  const std::string lock = lock_path(path);
  // Whoever opens looks at the name again once it has its lock, and whoever has one keeps us out.
  if (try_lock(users.get(), LockKind::kExclusive, lock) && is_named(users, lock))
    ::unlink(lock.c_str());
}

}  // namespace rdzv
