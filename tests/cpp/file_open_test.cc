// Who may open a FileStore's file, what becomes of one that is left over, and one that is lost.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>

#include "base/crc32c.h"
#include "base/error.h"
#include "file_support.h"
#include "store/file_fd.h"
#include "store/file_lock.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

constexpr Duration kHang = std::chrono::seconds(120);

template <typename Call>
ErrorCode code_of(Call&& call) {
  try {
    call();
    return ErrorCode::kOk;
  } catch (const Error& error) {
    return error.code();
  }
}

ErrorCode code_of_opening(const std::string& path, const std::string& job_id = "job") {
  try {
    FileStore store(options(path, job_id));
    return ErrorCode::kOk;
  } catch (const Error& error) {
    CHECK(error.message().find(path) != std::string::npos);
    return error.code();
  }
}

}  // namespace

TEST_CASE("a file that is no store's is refused, and nothing is changed") {
  Folder folder;
  for (const char* content : {"some text\n", "x", "\x89PNG\r\n\x1a\n...............",
                              "\x89RDZFX\r\n0123456789012345678901234567890123456789"}) {
    write_file(folder.file(), content);
    CHECK(code_of_opening(folder.file()) == ErrorCode::kProtocol);
    CHECK(read_file(folder.file()) == content);
    CHECK_FALSE(std::filesystem::exists(folder.file() + ".lock"));
  }
}

TEST_CASE("a file of another version of the format is refused, and not touched") {
  Folder folder;
  std::string header = file_format::encode_header({});
  header[8] = 1;
  std::string content = header.substr(0, 12);
  append_little_endian(content, crc32c(content));
  content += header.substr(content.size());
  write_file(folder.file(), content);
  CHECK(code_of_opening(folder.file()) == ErrorCode::kUnsupported);
  CHECK(read_file(folder.file()) == content);
  CHECK_FALSE(std::filesystem::exists(folder.file() + ".lock"));
}

TEST_CASE("what cannot be opened is an error at once") {
  Folder folder;
  std::filesystem::create_directory(folder.file("directory"));
  CHECK(code_of_opening(folder.file("directory")) == ErrorCode::kConnection);
  CHECK(code_of_opening(folder.file("missing/store")) == ErrorCode::kConnection);
  CHECK(::mkfifo(folder.file("pipe").c_str(), 0600) == 0);
  CHECK(code_of_opening(folder.file("pipe")) == ErrorCode::kConnection);
  CHECK(code_of_opening("") == ErrorCode::kInvalidArgument);
  CHECK(code_of_opening(folder.file(), std::string(2000, 'j')) == ErrorCode::kLimit);
}

TEST_CASE("a left-over file is continued by the same job and by no other") {
  Folder folder;
  const auto leave = [&](const std::string& job_id) {
    FileStore(options(folder.file(), job_id)).set("k", "old");
  };
  const auto finds = [&](const std::string& job_id) {
    return FileStore(options(folder.file(), job_id)).check({"k"});
  };
  leave("one");
  CHECK(finds("one"));
  drain_log();
  CHECK_FALSE(finds("two"));
  CHECK(drain_log().find("'one'") != std::string::npos);
  leave("one");
  CHECK_FALSE(finds(""));
  leave("");
  CHECK_FALSE(finds(""));
  leave("");
  CHECK_FALSE(finds("one"));
  CHECK_FALSE(std::filesystem::exists(folder.file() + ".lock"));
}

TEST_CASE("a file in use is refused to another job, and kept for its own") {
  Folder folder;
  FileStore store(options(folder.file(), "one"));
  store.set("k", "1");
  for (const char* other : {"two", ""}) {
    try {
      FileStore refused(options(folder.file(), other));
      FAIL("no error");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::kAddressInUse);
      CHECK(error.message().find("'one'") != std::string::npos);
      CHECK(error.message().find("'" + std::string(other) + "'") != std::string::npos);
    }
  }
  FileStore user(options(folder.file(), "one"));
  CHECK(user.get("k", Duration::zero()) == "1");
}

TEST_CASE("an empty file becomes a store with the mode it has") {
  Folder folder;
  write_file(folder.file(), "");
  ::chmod(folder.file().c_str(), 0640);
  FileStore store(options(folder.file()));
  CHECK(store.num_keys() == 0);
  struct stat status{};
  CHECK(::stat(folder.file().c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0640);
}

TEST_CASE("a file that is removed, replaced or emptied while in use is an error") {
  Folder folder;
  FileStore store(options(folder.file()));
  store.set("k", "1");
  const auto code = [&](bool write) {
    try {
      write ? store.set("k", "2") : static_cast<void>(store.check({"k"}));
      return ErrorCode::kOk;
    } catch (const Error& error) {
      return error.code();
    }
  };
  std::filesystem::rename(folder.file(), folder.file("kept"));
  std::filesystem::copy(folder.file("kept"), folder.file("copy"));
  std::filesystem::remove(folder.file("kept"));
  CHECK(code(false) == ErrorCode::kConnection);
  CHECK(code(true) == ErrorCode::kConnection);
  {
    FileStore another(options(folder.file(), "another"));
    CHECK(code(false) == ErrorCode::kRestarted);
    CHECK(code(true) == ErrorCode::kRestarted);
  }
  std::filesystem::rename(folder.file("copy"), folder.file());
  CHECK(store.get("k", Duration::zero()) == "1");  // the same store again
  write_file(folder.file(), "");
  CHECK(code(false) == ErrorCode::kProtocol);
  CHECK(code(true) == ErrorCode::kProtocol);
}

TEST_CASE("a file that gets another name while in use is noticed by all who use it") {
  for (bool another : {false, true}) {
    CAPTURE(another);
    Folder folder;
    FileStore store(options(folder.file()));
    store.set("k", "1");
    std::atomic<ErrorCode> of_waiter{ErrorCode::kOk};
    std::thread waiter([&] { of_waiter = code_of([&] { store.get("never", kHang); }); });
    FileStore reader(options(folder.file()));
    std::filesystem::rename(folder.file(), folder.file("moved"));
    std::optional<FileStore> newcomer;
    if (another) newcomer.emplace(options(folder.file()));
    ErrorCode expected = another ? ErrorCode::kRestarted : ErrorCode::kConnection;
    // Else these would go on with the moved file, and the newcomer with its own.
    CHECK(code_of([&] { store.set("k", "2"); }) == expected);
    CHECK(code_of([&] { reader.get("k", kHang); }) == expected);
    CHECK(code_of([&] { reader.check({"k"}); }) == expected);
    waiter.join();
    // It may have looked before there was another.
    CHECK((of_waiter == expected || of_waiter == ErrorCode::kConnection));
    if (another) continue;
    std::filesystem::rename(folder.file("moved"), folder.file());
    CHECK(reader.get("k", kHang) == "1");
  }
}

TEST_CASE("an older copy of the file that takes its place is noticed") {
  Folder folder;
  FileStore store(options(folder.file()));
  store.set("k", "1");
  std::filesystem::copy(folder.file(), folder.file("backup"));
  store.set("k", "2");
  std::filesystem::rename(folder.file("backup"), folder.file());
  CHECK(code_of([&] { store.get("k", kHang); }) == ErrorCode::kRestarted);
  CHECK(code_of([&] { store.set("k", "3"); }) == ErrorCode::kRestarted);
}

TEST_CASE(
    "opening ends at its timeout while somebody keeps the writer's lock, and a clone as well") {
  Folder folder;
  FileStore::Options made = options(folder.file());
  FileStore store(made);
  FileFd holder = FileFd::open(folder.file().c_str(), O_RDWR);
  REQUIRE(try_lock(holder.get(), LockKind::kExclusive, ""));
  made.timeout = std::chrono::milliseconds(50);
  store.set_timeout(made.timeout);
  CHECK(code_of([&] { FileStore late(made); }) == ErrorCode::kNoAnswer);
  CHECK(code_of([&] { store.clone(); }) == ErrorCode::kNoAnswer);
}
