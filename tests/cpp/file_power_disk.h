// A disk that can lose its power. While one exists, the calls of this process that write, cut,
// sync, rename and remove files in its folder are recorded; crashes() then makes the folders that a
// power failure could have left.
//
// What a file system may do with what was not synced, by the worst of those that are in use: names
// change in order; of a file, each page has been written, or is zeros, or holds what was in that
// place on the disk before (garbage); its size is any that it had.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace rdzv::test {

class PowerDisk {
 public:
  // `folder`: empty, and the only one that is watched.
  explicit PowerDisk(const std::string& folder);
  PowerDisk(const PowerDisk&) = delete;
  PowerDisk& operator=(const PowerDisk&) = delete;
  ~PowerDisk();

  // As in a directory that anybody may write to, for what belongs to another user: the system
  // refuses O_CREAT for a file that is there (fs.protected_regular), and renaming over it (the
  // sticky bit).
  bool is_of_another_user = false;

  struct Files {
    std::map<std::string, std::string> by_name;
  };
  enum class Fault { kCutOff, kZeros, kGarbage, kHole };

  // What was done so far.
  size_t steps() const { return steps_.size(); }
  // The folder after a failure that came after `step`, with `names` of the unsynced changes of
  // names done, and at `at` (a byte of the unsynced part of each file, as a share) this fault.
  Files crash(size_t step, size_t names, Fault fault, double at) const;
  // How many changes of names are unsynced then.
  size_t unsynced_names(size_t step) const;

  struct Step {
    enum Kind { kCreate, kWrite, kCut, kSync, kRename, kRemove, kSyncNames } kind;
    uint64_t file = 0;  // inode; kept as a number of ours
    std::string name;
    std::string to;
    uint64_t offset = 0;
    std::string bytes;
  };
  void note(Step step);
  const std::string& folder() const { return folder_; }
  Step::Kind kind(size_t step) const { return steps_[step].kind; }

 private:
  std::string folder_;
  std::vector<Step> steps_;
  std::map<uint64_t, uint64_t> ids_;  // by inode
  uint64_t files_ = 0;
};

void write_files(const std::string& folder, const PowerDisk::Files& files);

}  // namespace rdzv::test
