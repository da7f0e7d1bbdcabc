#include "store/file_access.h"

#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/xattr.h>
#endif

#include <cerrno>

namespace rdzv {
namespace {

// The access list, where there is one beyond owner, group and others.
bool copy_access_list(int from, int to) {
#ifdef __linux__
  constexpr const char* kName = "system.posix_acl_access";
  char list[1024];
  ssize_t size = ::fgetxattr(from, kName, list, sizeof(list));
  if (size < 0) return errno != ERANGE;  // there is none, nor can be, on most files
  return ::fsetxattr(to, kName, list, static_cast<size_t>(size), 0) == 0;
#else
  static_cast<void>(from), static_cast<void>(to);
  return true;
#endif
}

}  // namespace

bool share_as(const FileLog& model, int fd) {
  struct stat old = model.status();
  struct stat fresh{};
  // Only root may give files away.
  if (::fchown(fd, old.st_uid, old.st_gid) != 0)
    static_cast<void>(::fchown(fd, static_cast<uid_t>(-1), old.st_gid) == 0);
  if (::fchmod(fd, old.st_mode & 07777) != 0 || !copy_access_list(model.fd(), fd)) return false;
  if (::fstat(fd, &fresh) != 0) return false;
  constexpr mode_t kGroup = S_IRGRP | S_IWGRP;
  constexpr mode_t kOthers = S_IROTH | S_IWOTH;
  bool for_group = (old.st_mode & kGroup) == kGroup;
  bool for_others = (old.st_mode & kOthers) == kOthers;
  if (old.st_gid != fresh.st_gid && !(for_group && for_others)) return false;
  return old.st_uid == fresh.st_uid || for_group || for_others;
}

}  // namespace rdzv
