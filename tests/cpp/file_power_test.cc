// A FileStore on a host that loses power: whatever the disk had by then, the file is opened, holds
// what was on the disk before for certain, and nothing that was never written.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "file_power_disk.h"
#include "file_support.h"
#include "store/file_fd.h"
#include "store/file_format.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

constexpr BootId kBefore{1};
constexpr BootId kAfter{2};
constexpr PowerDisk::Fault kFaults[] = {PowerDisk::Fault::kCutOff, PowerDisk::Fault::kZeros,
                                        PowerDisk::Fault::kGarbage, PowerDisk::Fault::kHole};

// What the store held when the disk had seen so many steps.
struct Cut {
  size_t step;
  Values values;
};

FileStore::Options in_boot(FileStore::Options made, const BootId& boot) {
  made.boot = boot;
  return made;
}

// Opens what a crash left, as the same job after the host has started again.
Values open_after(const std::string& path) {
  FileStore store(in_boot(options(path), kAfter));
  Values values = values_of(store);
  store.set("went on", "1");
  store.delete_key("went on");
  FileStore other(in_boot(options(path), kAfter));
  CHECK(values_of(other) == values);
  return values;
}

// Every failure that can come after each of the steps.
template <typename Check>
void for_each_crash(const PowerDisk& disk, const std::string& path, Check&& check) {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> anywhere(0, 1);
  for (size_t step = 0; step <= disk.steps(); ++step) {
    for (size_t names = 0; names <= disk.unsynced_names(step); ++names) {
      for (PowerDisk::Fault fault : kFaults) {
        for (double at : {0.0, anywhere(random), 0.999999}) {
          PowerDisk::Files left = disk.crash(step, names, fault, at);
          write_files(std::filesystem::path(path).parent_path(), left);
          CAPTURE(step);
          CAPTURE(names);
          CAPTURE(static_cast<int>(fault));
          CAPTURE(at);
          check(step, fault, left);
        }
      }
    }
  }
}

// After the last moment that was certainly on the disk at `step`: when a file had been synced and
// got its name, and that had been synced.
size_t certain(const PowerDisk& disk, const std::vector<Cut>& moments, size_t step) {
  size_t synced = 0;
  for (size_t i = 0; i < step; ++i) {
    if (disk.kind(i) != PowerDisk::Step::kSyncNames) continue;
    for (size_t k = i; k > 0; --k) {
      if (disk.kind(k) != PowerDisk::Step::kSync) continue;
      synced = k;
      break;
    }
  }
  size_t known = 0;
  for (size_t i = 0; i < moments.size(); ++i) {
    if (moments[i].step <= synced) known = i;
  }
  return known;
}

}  // namespace

TEST_CASE("after a power failure the file holds what was synced, and a past of the store") {
  for (bool compacts : {false, true}) {
    CAPTURE(compacts);
    Folder folder;
    std::filesystem::create_directory(folder.file("disk"));
    std::string path = folder.file("disk/store");
    PowerDisk disk(folder.file("disk"));
    std::vector<Cut> moments;
    {
      FileStore::Options made = in_boot(compacts ? compacting(path) : options(path), kBefore);
      FileStore store(made);
      moments.push_back({disk.steps(), {}});
      for (int i = 0; i < 12; ++i) {
        store.set("key " + std::to_string(i % 3), std::string(20 + i, 'a') + std::to_string(i));
        moments.push_back({disk.steps(), values_of(store)});
        store.append("grows", std::to_string(i) + std::string(i % 5, '\0'));
        moments.push_back({disk.steps(), values_of(store)});
      }
    }
    Folder after;
    for_each_crash(disk, after.file("crashed/store"),
                   [&](size_t step, PowerDisk::Fault, const auto& left) {
                     Values values;
                     try {
                       values = open_after(after.file("crashed/store"));
                     } catch (const Error& error) {
                       FAIL_CHECK(error.message());
                       return;
                     }
                     size_t at = moments.size();
                     while (at > 0 && moments[at - 1].values != values) --at;
                     CHECK(at > 0);                                    // it is a past of the store
                     CHECK(at > certain(disk, moments, step));         // and not too old a one
                     if (at > 1) CHECK(moments[at - 2].step <= step);  // nor one that had not begun
                     CHECK((left.by_name.contains("store") || values.empty()));
                   });
    drain_log();
  }
}

TEST_CASE("a file of another user that may not be replaced is used where it is") {
  Folder folder;
  std::filesystem::create_directory(folder.file("disk"));
  std::string path = folder.file("disk/store");
  {
    FileStore(options(path, "one")).set("k", "1");
  }
  PowerDisk disk(folder.file("disk"));
  disk.is_of_another_user = true;
  CHECK(FileStore(options(path, "one")).get("k", Duration::zero()) == "1");
  FileStore::Options made = options(path, "two");
  made.compact_min_bytes = 0;
  std::string value;
  for (int round = 0; round < 2; ++round) {
    FileStore store(made);
    FileStore other(made);
    CHECK(values_of(store).count("k") == 0);
    for (int i = 0; i < 100; ++i) store.set("l", value = std::to_string(i));
    CHECK(other.get("l", Duration::zero()) == value);
  }
  CHECK(drain_log().find("is not compacted: not allowed to replace") != std::string::npos);
}

TEST_CASE("a power failure while a file is started afresh where it is leaves a file that opens") {
  Folder folder;
  std::filesystem::create_directory(folder.file("disk"));
  std::string path = folder.file("disk/store");
  const Values old{{"k", std::string(100, '1')}};
  PowerDisk disk(folder.file("disk"));
  {
    FileStore(in_boot(options(path, "job"), kBefore)).set("k", old.at("k"));
  }
  // As if it had been on the disk for long.
  FileFd file = FileFd::open(path.c_str(), O_RDWR);
  ::fsync(file.get());
  size_t begin = disk.steps();
  disk.is_of_another_user = true;
  {
    FileStore(in_boot(options(path, "other"), kBefore)).set("l", "2");
  }
  Folder after;
  for_each_crash(disk, after.file("crashed/store"),
                 [&](size_t step, PowerDisk::Fault fault, const auto&) {
                   // A header is smaller than what a disk writes at once, so it has no holes.
                   if (step < begin || fault == PowerDisk::Fault::kHole) return;
                   try {
                     // Either it is still the file of the job, or it was started afresh and the
                     // job's values went.
                     Values values = open_after(after.file("crashed/store"));
                     CHECK((values == old || values.empty()));
                     if (step == begin) CHECK(values == old);
                   } catch (const Error&) {
                     // A file system that shows old data of others makes a file of it that is
                     // nobody's.
                     CHECK(fault == PowerDisk::Fault::kGarbage);
                   }
                 });
  drain_log();
}

TEST_CASE("every file gets its name after its content is on the disk, and the name follows") {
  Folder folder;
  std::filesystem::create_directory(folder.file("disk"));
  PowerDisk disk(folder.file("disk"));
  FileStore store(compacting(folder.file("disk/store")));
  for (int i = 0; i < 50; ++i) store.set("k", std::to_string(i));
  size_t renamed = 0;
  for (size_t i = 0; i < disk.steps(); ++i) {
    if (disk.kind(i) != PowerDisk::Step::kRename) continue;
    ++renamed;
    CHECK(disk.kind(i - 1) == PowerDisk::Step::kSync);
    CHECK(disk.kind(i + 1) == PowerDisk::Step::kSyncNames);
  }
  CHECK(renamed >= 2);
}

TEST_CASE("what a crashed host left behind the last whole record goes, whatever it is") {
  Folder folder;
  std::string path = folder.file();
  {
    FileStore store(in_boot(options(path), kBefore));
    store.set("k", "1");
  }
  const std::string bytes = read_file(path);
  std::string record;
  file_format::RecordWriter(record, file_format::RecordType::kSet).string("l").string("2").end();
  std::string wrong = record;
  wrong.back() = '3';
  for (const std::string& tail :
       {std::string("garbage"), std::string(5000, 'x'), wrong + record, "x" + record + record}) {
    write_file(path, bytes + tail);
    CHECK(open_after(path) == Values{{"k", "1"}});
    // Without a crash it is damage that nobody may hide, unless it is less than a record.
    write_file(path, bytes + tail);
    bool refused = false;
    try {
      FileStore store(in_boot(options(path), kBefore));
      store.set("m", "1");
    } catch (const Error& error) {
      refused = error.code() == ErrorCode::kProtocol;
    }
    CHECK(refused == (tail != "garbage"));
  }
}

TEST_CASE("damage to what was on the disk before a crash is an error, and nothing is cut off") {
  Folder folder;
  std::string path = folder.file();
  {
    FileStore store(in_boot(compacting(path), kBefore));
    for (int i = 0; i < 100; ++i) store.set("k", std::string(10, 'x'));
    for (int i = 0; i < 3; ++i) store.set(std::to_string(i), "last");
  }
  std::string bytes = read_file(path);
  size_t at = bytes.find("xxxxxxxxxx");
  bytes[at] = 'y';
  write_file(path, bytes);
  try {
    FileStore store(in_boot(options(path), kAfter));
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kProtocol);
    CHECK(error.message().find("damaged") != std::string::npos);
  }
  CHECK(read_file(path) == bytes);
}

TEST_CASE("while somebody has the store open, what looks like a crash's rest is damage") {
  Folder folder;
  FileStore store(in_boot(options(folder.file()), kBefore));
  store.set("k", "1");
  std::string bytes = read_file(folder.file()) + std::string(100, 'x');
  write_file(folder.file(), bytes);
  CHECK_THROWS_AS(FileStore(in_boot(options(folder.file()), kAfter)), Error);
  CHECK(read_file(folder.file()) == bytes);
}

TEST_CASE("a header that did not reach the disk is none") {
  Folder folder;
  {
    FileStore(options(folder.file())).set("k", "1");
  }
  const std::string header = read_file(folder.file()).substr(0, 50);
  for (size_t size = 0; size < header.size(); ++size) {
    for (size_t zeros : {0, 1, 100, 70'000}) {
      CAPTURE(size);
      CAPTURE(zeros);
      write_file(folder.file(), header.substr(0, size) + std::string(zeros, '\0'));
      CHECK(FileStore(options(folder.file())).num_keys() == 0);
    }
  }
  drain_log();
}
