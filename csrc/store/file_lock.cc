#include "store/file_lock.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <fstream>
#include <memory>
#include <thread>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/random.h"

namespace rdzv {
namespace {

#ifdef F_OFD_SETLK
constexpr int kSetLock = F_OFD_SETLK;
#else
constexpr int kSetLock = F_SETLK;
#endif

constexpr int kImmediateAttempts = 8;
constexpr int kYieldingAttempts = 32;
constexpr Duration kSleepMax = std::chrono::milliseconds(2);

struct flock lock_request(short type) {
  struct flock request{};
  request.l_type = type;
  request.l_whence = SEEK_SET;
  request.l_start = kLockByte;
  request.l_len = 1;
  return request;
}

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, DirectoryCloser>;

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Lines of fdinfo: "lock:\t1: OFDLCK ADVISORY WRITE -1 fe:00:1234 START END".
bool holds_exclusively(const std::string& fdinfo) {
  std::ifstream file(fdinfo);
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("lock:") && line.find(" WRITE ") != std::string::npos &&
        line.find(" " + std::to_string(kLockByte) + " ") != std::string::npos)
      return true;
  }
  return false;
}

bool process_holds(const std::string& process, const std::string& path) {
  Directory directory(::opendir((process + "/fd").c_str()));
  if (!directory) return false;
  std::string target(path.size() + 1, '\0');  // one more, to see that a target is longer
  while (const dirent* entry = ::readdir(directory.get())) {
    std::string link = process + "/fd/" + entry->d_name;
    ssize_t size = ::readlink(link.c_str(), target.data(), target.size());
    if (size != static_cast<ssize_t>(path.size()) || !target.starts_with(path)) continue;
    if (holds_exclusively(process + "/fdinfo/" + entry->d_name)) return true;
  }
  return false;
}

}  // namespace

bool try_lock(int fd, LockKind kind, const std::string& path) {
  struct flock request = lock_request(kind == LockKind::kShared ? F_RDLCK : F_WRLCK);
  if (::fcntl(fd, kSetLock, &request) == 0) return true;
  if (errno == EAGAIN || errno == EACCES || errno == EINTR) return false;
  throw Error(ErrorCode::kConnection, "FileStore cannot lock " + path + ": " + errno_text(errno) +
                                          "; put the file on a file system that supports locks");
}

void unlock(int fd) {
  struct flock request = lock_request(F_UNLCK);
  ::fcntl(fd, kSetLock, &request);
}

std::string find_lock_holder(const std::string& path, Duration time_max) {
  Deadline deadline = Deadline::after(time_max);
  Directory proc(::opendir("/proc"));
  if (!proc) return "";
  while (const dirent* entry = ::readdir(proc.get())) {
    std::string pid(entry->d_name);
    if (!std::isdigit(static_cast<unsigned char>(pid[0]))) continue;
    if (deadline.passed()) return "";
    std::string process = "/proc/" + pid;
    if (process_holds(process, path))
      return "pid " + pid + " (" + first_line(process + "/comm") + ")";
  }
  return "";
}

bool LockBackoff::pause() {
  ++attempts_;
  if (attempts_ <= kImmediateAttempts) return true;
  if (attempts_ <= kImmediateAttempts + kYieldingAttempts) {
    ::sched_yield();
    return true;
  }
  Instant instant = now();
  if (began_ == Instant{}) began_ = asked_ = instant;
  Duration left = timeout_ - (instant - began_);
  if (left <= Duration::zero()) return false;
  if (instant - asked_ >= kInterruptSlice / 2) {
    asked_ = instant;
    throw_if_interrupted();
  }
  auto pause = Duration(static_cast<int64_t>(static_cast<double>(sleep_.count()) * jitter()));
  std::this_thread::sleep_for(std::min(left, pause));
  sleep_ = std::min(kSleepMax, sleep_ * 3 / 2);
  return true;
}

Duration LockBackoff::elapsed() const {
  return began_ == Instant{} ? Duration::zero() : now() - began_;
}

}  // namespace rdzv
