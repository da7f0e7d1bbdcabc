#include "store/file_fd.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <utility>

namespace rdzv {

// All that are open in this process.
struct FileFdList {
  std::mutex mutex;  // held over a fork, so that the child finds the list whole
  FileFd* first = nullptr;
  std::atomic<uint64_t> forks{0};

  static FileFdList& instance() {
    static FileFdList* list = [] {
      auto* made = new FileFdList;  // outlives every store that goes at exit
      pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child);
      return made;
    }();
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

  static void before_fork() { instance().mutex.lock(); }
  static void after_fork_in_parent() { instance().mutex.unlock(); }
  static void after_fork_in_child() {
    FileFdList& list = instance();
    for (FileFd* fd = list.first; fd != nullptr; fd = fd->next_) {
      ::close(std::exchange(fd->fd_, -1));
    }
    list.first = nullptr;
    list.forks.fetch_add(1, std::memory_order_relaxed);
    list.mutex.unlock();
  }
};

// Under the list's lock from the start: a fork in between would leave the child a copy.
FileFd FileFd::open(const char* path, int flags, unsigned mode) {
  FileFd fd;
  FileFdList& list = FileFdList::instance();
  {
    std::lock_guard lock(list.mutex);
    fd.fd_ = ::open(path, flags | O_CLOEXEC, mode);
    if (fd.fd_ >= 0) list.add(fd);
  }
  return fd;
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
  FileFdList& list = FileFdList::instance();
  std::lock_guard lock(list.mutex);
  if (other.fd_ < 0) return;
  list.remove(other);
  fd_ = std::exchange(other.fd_, -1);
  list.add(*this);
}

FileFd::~FileFd() {
  close();
}

void FileFd::close() {
  FileFdList& list = FileFdList::instance();
  std::lock_guard lock(list.mutex);
  if (fd_ < 0) return;
  list.remove(*this);
  ::close(std::exchange(fd_, -1));
}

uint64_t fork_generation() {
  static const std::atomic<uint64_t>& forks = FileFdList::instance().forks;
  return forks.load(std::memory_order_relaxed);
}

}  // namespace rdzv
