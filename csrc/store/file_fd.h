// A descriptor that belongs to one process: a forked child closes its copy at once. A lock lives as
// long as any copy of the descriptor it was taken through, so a child that kept one would hold its
// dead parent's lock for ever.
//
// Any thread may own one. A fork never waits for a file system: opening and closing, which may take
// for ever on one, hold no lock that a fork takes.
#pragma once

#include <cstdint>
#include <mutex>

namespace rdzv {

class FileFd {
 public:
  FileFd() = default;
  // As open(2), with O_CLOEXEC; errno says why there is none.
  static FileFd open(const char* path, int flags, unsigned mode = 0);
  // Takes over what `make` returns, a descriptor or -1. A fork waits for `make`.
  template <typename Make>
  static FileFd make(Make&& make) {
    FileFd fd;
    std::lock_guard lock(list_mutex());
    fd.fd_ = make();
    if (fd) fd.enter();
    return fd;
  }
  FileFd(FileFd&& other) noexcept;
  FileFd& operator=(FileFd&& other) noexcept;
  ~FileFd();

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  // Gives up its locks, too.
  void close();

 private:
  friend struct FileFdList;

  static std::mutex& list_mutex();
  // Under that.
  void enter();
  // A moved descriptor is entered in its new place.
  void take(FileFd& other);

  int fd_ = -1;
  FileFd* next_ = nullptr;
  FileFd* previous_ = nullptr;
};

// How many forks lie between the first process of the program and this one: who remembers it from
// its birth can tell that it is now in a child.
uint64_t fork_generation();

}  // namespace rdzv
