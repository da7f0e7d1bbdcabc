#include "store/file_fd.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <mutex>
#include <utility>

#include "base/fork_hold.h"
#include "store/file_lock.h"

namespace rdzv {

// All that are open in this process.
struct FileFdList {
  FileFd* first = nullptr;
  std::atomic<uint64_t> forks{0};
  std::mutex mutex;
  ForkHold over_forks{mutex, [this] { close_in_child(); }};

  static FileFdList& instance() {
    static auto* list = new FileFdList;  // outlives every store that goes at exit
    return *list;
  }

  void add(FileFd& fd) {
    fd.next_ = first;
    fd.previous_ = nullptr;
    if (first != nullptr) first->previous_ = &fd;
    first = &fd;
  }

  void remove(FileFd& fd) {
    (fd.previous_ != nullptr ? fd.previous_->next_ : first) = fd.next_;
    if (fd.next_ != nullptr) fd.next_->previous_ = fd.previous_;
  }

  void close_in_child() {
    for (FileFd* fd = first; fd != nullptr; fd = fd->next_) ::close(std::exchange(fd->fd_, -1));
    first = nullptr;
    forks.fetch_add(1, std::memory_order_relaxed);
  }
};

std::mutex& FileFd::list_mutex() {
  return FileFdList::instance().mutex;
}

void FileFd::enter() {
  FileFdList::instance().add(*this);
}

// A child that was forked between opening and entering has a copy. Nothing was locked through it
// yet, so it does no harm once it is another's than ours: what we keep is opened anew.
FileFd FileFd::open(const char* path, int flags, unsigned mode) {
  FileFd fd;
  std::unique_lock lock(list_mutex());
  while (true) {
    uint64_t forks = forks_begun();
    lock.unlock();
    int opened = ::open(path, flags | O_CLOEXEC, mode);
    int error = errno;
    lock.lock();
    if (opened >= 0 && forks == forks_begun()) {
      fd.fd_ = opened;
      fd.enter();
      return fd;
    }
    if (opened < 0) {
      errno = error;
      return fd;
    }
    lock.unlock();
    ::close(opened);
    if ((flags & O_EXCL) != 0) flags &= ~(O_CREAT | O_EXCL);  // it is there now
    lock.lock();
  }
}

FileFd::FileFd(FileFd&& other) noexcept {
  take(other);
}

FileFd& FileFd::operator=(FileFd&& other) noexcept {
  if (this == &other) return *this;
  close();
  take(other);
  return *this;
}

void FileFd::take(FileFd& other) {
  std::lock_guard lock(list_mutex());
  if (other.fd_ < 0) return;
  FileFdList& list = FileFdList::instance();
  list.remove(other);
  fd_ = std::exchange(other.fd_, -1);
  list.add(*this);
}

FileFd::~FileFd() {
  close();
}

void FileFd::close() {
  if (fd_ < 0) return;
  unlock(fd_);  // as a child that is forked before it is closed has a copy
  int fd = -1;
  {
    std::lock_guard lock(list_mutex());
    FileFdList::instance().remove(*this);
    fd = std::exchange(fd_, -1);
  }
  ::close(fd);
}

uint64_t fork_generation() {
  static const std::atomic<uint64_t>& forks = FileFdList::instance().forks;
  return forks.load(std::memory_order_relaxed);
}

}  // namespace rdzv
