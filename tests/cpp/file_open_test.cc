// Who may open a FileStore's file, what becomes of one that is left over, and one that is lost.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "base/crc32c.h"
#include "base/error.h"
#include "file_support.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

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
  std::string header = file_format::encode_header({}, "job");
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
