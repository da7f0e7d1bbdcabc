// The disk, and the calls that it watches: this program's own take the place of the C library's.
#include "file_power_disk.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <filesystem>
#include <fstream>
#include <set>

namespace {

using rdzv::test::PowerDisk;
using Step = PowerDisk::Step;

PowerDisk* g_disk = nullptr;

template <typename Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

std::string name_in_folder(const char* path) {
  std::string text(path);
  if (g_disk == nullptr || !text.starts_with(g_disk->folder() + "/")) return "";
  return text.substr(g_disk->folder().size() + 1);
}

std::string path_of(int fd) {
  char path[4096];
  std::string link = "/proc/self/fd/" + std::to_string(fd);
  ssize_t size = ::readlink(link.c_str(), path, sizeof(path));
  return size < 0 ? "" : std::string(path, static_cast<size_t>(size));
}

bool watched(int fd) {
  return g_disk != nullptr && path_of(fd).starts_with(g_disk->folder());
}

uint64_t inode(int fd) {
  struct stat status{};
  ::fstat(fd, &status);
  return status.st_ino;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0) {
    va_list arguments;
    va_start(arguments, flags);
    mode = va_arg(arguments, mode_t);
    va_end(arguments);
  }
  std::string name = name_in_folder(path);
  if (!name.empty() && g_disk->is_of_another_user && (flags & O_CREAT) != 0 &&
      ::access(path, F_OK) == 0) {
    errno = EACCES;
    return -1;
  }
  bool fresh = !name.empty() && (flags & O_CREAT) != 0 && ::access(path, F_OK) != 0;
  int fd = real<int(const char*, int, ...)>("open")(path, flags, mode);
  if (fd >= 0 && fresh) g_disk->note({Step::kCreate, inode(fd), name, "", 0, ""});
  return fd;
}

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  ssize_t done = real<ssize_t(int, const void*, size_t, off_t)>("pwrite")(fd, bytes, size, offset);
  if (done > 0 && watched(fd)) {
    std::string written(static_cast<const char*>(bytes), static_cast<size_t>(done));
    g_disk->note({Step::kWrite, inode(fd), "", "", static_cast<uint64_t>(offset), written});
  }
  return done;
}

int ftruncate(int fd, off_t size) noexcept {
  int result = real<int(int, off_t)>("ftruncate")(fd, size);
  if (result == 0 && watched(fd))
    g_disk->note({Step::kCut, inode(fd), "", "", static_cast<uint64_t>(size), ""});
  return result;
}

int fsync(int fd) {
  if (!watched(fd)) return real<int(int)>("fsync")(fd);
  bool names = path_of(fd) == g_disk->folder();
  g_disk->note({names ? Step::kSyncNames : Step::kSync, inode(fd), "", "", 0, ""});
  return 0;
}

int rename(const char* from, const char* to) noexcept {
  std::string name = name_in_folder(from);
  if (!name.empty() && g_disk->is_of_another_user) {
    errno = EPERM;
    return -1;
  }
  int result = real<int(const char*, const char*)>("rename")(from, to);
  if (result == 0 && !name.empty())
    g_disk->note({Step::kRename, 0, name, name_in_folder(to), 0, ""});
  return result;
}

int unlink(const char* path) noexcept {
  std::string name = name_in_folder(path);
  int result = real<int(const char*)>("unlink")(path);
  if (result == 0 && !name.empty()) g_disk->note({Step::kRemove, 0, name, "", 0, ""});
  return result;
}

}  // extern "C"

namespace rdzv::test {
namespace {

constexpr size_t kPageBytes = 32;

bool changes_names(const Step& step) {
  return step.kind == Step::kCreate || step.kind == Step::kRename || step.kind == Step::kRemove;
}

void apply(const Step& step, std::string& content) {
  if (step.kind == Step::kCut) content.resize(step.offset, '\0');
  if (step.kind != Step::kWrite) return;
  if (content.size() < step.offset + step.bytes.size())
    content.resize(step.offset + step.bytes.size(), '\0');
  content.replace(step.offset, step.bytes.size(), step.bytes);
}

struct File {
  std::string synced;
  std::string content;
};

// Content of the file between what is synced and what was written, with the fault.
std::string broken(const File& file, PowerDisk::Fault fault, double at) {
  std::string content = file.content;
  size_t same = 0;
  while (same < std::min(content.size(), file.synced.size()) && content[same] == file.synced[same])
    ++same;
  if (same == content.size() && same == file.synced.size()) return content;
  if (same == content.size()) return file.synced;  // cut, and that was not synced
  size_t from = same + static_cast<size_t>(static_cast<double>(content.size() - same) * at);
  size_t page_end = std::min(content.size(), (from / kPageBytes + 1) * kPageBytes);
  switch (fault) {
    case PowerDisk::Fault::kCutOff:
      content.resize(from);
      break;
    case PowerDisk::Fault::kZeros:
      std::fill(content.begin() + static_cast<ptrdiff_t>(from), content.end(), '\0');
      break;
    case PowerDisk::Fault::kGarbage:
      for (size_t i = from; i < content.size(); ++i)
        content[i] = i < file.synced.size() ? file.synced[i] : static_cast<char>(i * 31 + 7);
      break;
    case PowerDisk::Fault::kHole:
      for (size_t i = from; i < page_end; ++i)
        content[i] = i < file.synced.size() ? file.synced[i] : '\0';
      break;
  }
  return content;
}

}  // namespace

PowerDisk::PowerDisk(const std::string& folder) : folder_(folder) {
  g_disk = this;
}

PowerDisk::~PowerDisk() {
  g_disk = nullptr;
}

size_t PowerDisk::unsynced_names(size_t step) const {
  size_t count = 0;
  for (size_t i = 0; i < step; ++i) {
    if (steps_[i].kind == Step::kSyncNames) count = 0;
    count += changes_names(steps_[i]) ? 1 : 0;
  }
  return count;
}

PowerDisk::Files PowerDisk::crash(size_t step, size_t names, Fault fault, double at) const {
  std::map<uint64_t, File> files;
  std::map<std::string, uint64_t> by_name;
  size_t synced = 0;
  for (size_t i = 0; i < step; ++i) {
    if (steps_[i].kind == Step::kSyncNames) synced = i;
  }
  for (size_t i = 0; i < step; ++i) {
    const Step& one = steps_[i];
    if (changes_names(one)) {
      if (i > synced && names == 0) continue;
      if (i > synced) --names;
      uint64_t file = one.kind == Step::kCreate ? one.file : by_name[one.name];
      by_name.erase(one.name);
      if (one.kind == Step::kCreate) by_name[one.name] = file;
      if (one.kind == Step::kRename) by_name[one.to] = file;
    } else if (one.kind == Step::kSync) {
      files[one.file].synced = files[one.file].content;
    } else {
      apply(one, files[one.file].content);
    }
  }
  Files left;
  for (const auto& [name, file] : by_name) left.by_name[name] = broken(files[file], fault, at);
  return left;
}

void PowerDisk::note(Step step) {
  // The number of a file that is gone is used again, so files are counted here.
  uint64_t& id = ids_[step.file];
  if (step.kind == Step::kCreate) id = ++files_;
  step.file = id;
  steps_.push_back(std::move(step));
}

void write_files(const std::string& folder, const PowerDisk::Files& files) {
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  for (const auto& [name, content] : files.by_name)
    std::ofstream(folder + "/" + name, std::ios::binary) << content;
}

}  // namespace rdzv::test
