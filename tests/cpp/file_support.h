// What the tests of FileStore share: a folder that goes with the test, whole files as bytes, and
// what a store holds as text.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "base/bytes.h"
#include "base/log.h"
#include "store/file_store.h"

namespace rdzv::test {

class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "rdzv-file-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }

  std::string file(const std::string& name = "store") const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// The bytes of the same file; its users keep it.
inline void write_file(const std::string& path, Bytes bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

inline void add_to_file(const std::string& path, Bytes bytes) {
  std::ofstream(path, std::ios::binary | std::ios::app) << bytes;
}

inline FileStore::Options options(const std::string& path, const std::string& job_id = "job") {
  FileStore::Options made;
  made.path = path;
  made.job_id = job_id;
  made.timeout = std::chrono::seconds(120);
  return made;
}

// Compacts as often as its rule allows.
inline FileStore::Options compacting(const std::string& path) {
  FileStore::Options made = options(path);
  made.compact_min_bytes = 0;
  return made;
}

// What was logged since the last call.
inline std::string drain_log() {
  std::string text;
  while (auto record = LogQueue::instance().read(Duration::zero())) text += record->message + "\n";
  return text;
}

using Values = std::map<std::string, std::string>;

inline Values values_of(FileStore& store) {
  Values values;
  for (const std::string& key : store.list_keys("")) values[key] = store.get(key, Duration::zero());
  return values;
}

}  // namespace rdzv::test
