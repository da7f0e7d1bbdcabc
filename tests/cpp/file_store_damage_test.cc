// FileStore on files that are cut short or damaged.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "file_support.h"
#include "store/file_format.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

// Reads like the clock that the file is opened with later, but an hour behind, and can be moved on.
Duration g_behind;
Instant past_now() {
  return wall_now() - g_behind;
}

struct Step {
  size_t file_bytes;  // after it
  Values values;
};

// A file with every type of record; what it holds after each.
std::pair<std::string, std::vector<Step>> every_record(const std::string& path) {
  std::vector<Step> steps;
  {
    g_behind = std::chrono::hours(1);
    FileStore::Options made = options(path);
    made.clock = past_now;
    FileStore store(made);
    const auto note = [&] { steps.push_back({read_file(path).size(), values_of(store)}); };
    note();
    store.set("first", "1");
    note();
    store.append("first", std::string(100, 'x'));
    note();
    store.multi_set({"a", "1", "b", std::string(40, '\0'), "", ""});
    note();
    store.add("counter", -7);
    note();
    store.delete_key("a");
    note();
    store.compare_exchange("first", "no", "not set");
    store.compare_exchange("last", "", "set");
    note();
    store.set_for("brief", "1", std::chrono::minutes(1));
    g_behind -= std::chrono::minutes(2);
    note();
    store.set_for("lasting", "1", std::chrono::hours(100));  // after a record that "brief" is gone
    note();
    store.multi_set({"p/1", "1", "p/2", "2"});
    note();
    CHECK(store.delete_prefix("p/") == 2);
    note();
  }
  return {read_file(path), steps};
}

// Opens a file, and goes on with it as two users.
Values open_and_go_on(const std::string& path) {
  FileStore store(options(path));
  Values values = values_of(store);
  FileStore other(options(path));
  CHECK(values_of(other) == values);
  other.set("went on", "1");
  CHECK(store.get("went on", Duration::zero()) == "1");
  store.set("went on", "2");
  CHECK(other.get("went on", Duration::zero()) == "2");
  return values;
}

}  // namespace

TEST_CASE("a file cut at any byte holds the records before the cut, and goes on") {
  Folder folder;
  const auto [bytes, steps] = every_record(folder.file());
  for (size_t size = 0; size <= bytes.size(); ++size) {
    std::string path = folder.file("cut");
    write_file(path, Bytes(bytes).substr(0, size));
    Values expected;
    for (const Step& step : steps) {
      if (step.file_bytes <= size) expected = step.values;
    }
    CAPTURE(size);
    CHECK(open_and_go_on(path) == expected);
    std::filesystem::remove(path);
  }
}

TEST_CASE("a changed byte is an error, or takes no more than the last record with it") {
  Folder folder;
  const auto [bytes, steps] = every_record(folder.file());
  const Values& without_last = steps[steps.size() - 2].values;
  size_t last_record = steps[steps.size() - 2].file_bytes;
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (unsigned char change : {0x01, 0x80, 0xFF}) {
      std::string path = folder.file("changed");
      std::string changed = bytes;
      changed[at] = static_cast<char>(changed[at] ^ change);
      write_file(path, changed);
      CAPTURE(at);
      try {
        Values values = open_and_go_on(path);
        CHECK(values == without_last);
        CHECK(at >= last_record);
      } catch (const Error& error) {
        CHECK((error.code() == ErrorCode::kProtocol || error.code() == ErrorCode::kUnsupported));
        CHECK(read_file(path) == changed);
      }
      std::filesystem::remove(path);
      std::filesystem::remove(path + ".lock");
    }
  }
}

TEST_CASE("readers leave an unfinished record alone, and the next writer cuts it off") {
  Folder folder;
  FileStore store(options(folder.file()));
  store.set("k", "1");
  size_t whole = read_file(folder.file()).size();
  std::string record;
  file_format::RecordWriter(record, file_format::RecordType::kSet).string("k").string("2").end();
  for (size_t size = 1; size < record.size(); ++size) {
    add_to_file(folder.file(), Bytes(record).substr(0, size));
    CHECK(store.get("k", Duration::zero()) == "1");
    CHECK(read_file(folder.file()).size() == whole + size);
    drain_log();
    // The same size again: who remembered only that would not look.
    store.add("n", 1);
    CHECK(drain_log().find("removed " + std::to_string(size)) != std::string::npos);
    whole = read_file(folder.file()).size();
  }
  add_to_file(folder.file(), record);
  CHECK(store.get("k", Duration::zero()) == "2");
}

TEST_CASE("a reader sees what was written where an unfinished record was") {
  Folder folder;
  FileStore reader(options(folder.file()));
  FileStore writer(options(folder.file()));
  std::string record;
  file_format::RecordWriter(record, file_format::RecordType::kSet).string("k").string("22").end();
  add_to_file(folder.file(), Bytes(record).substr(0, record.size() - 1));
  CHECK_FALSE(reader.check({"k"}));
  writer.set("k", "1");  // makes the file as long as it was
  CHECK(reader.get("k", Duration::zero()) == "1");
}

TEST_CASE("zeros at the end are what a crashed host leaves, and are cut off") {
  Folder folder;
  FileStore store(options(folder.file()));
  store.set("k", "1");
  add_to_file(folder.file(), std::string(5000, '\0'));
  CHECK(store.get("k", Duration::zero()) == "1");
  store.set("l", "2");
  CHECK(open_and_go_on(folder.file()) == Values{{"k", "1"}, {"l", "2"}});
}

TEST_CASE("zeros from any byte to the end are cut off, however many there are") {
  Folder folder;
  const auto [bytes, steps] = every_record(folder.file());
  for (size_t size = 0; size <= bytes.size(); ++size) {
    Values expected;
    for (const Step& step : steps) {
      if (step.file_bytes <= size) expected = step.values;
    }
    size_t left = bytes.size() - size;
    for (size_t zeros : {size_t{1}, left / 2, left, left + 1, left + 5000, left + 70'000}) {
      std::string path = folder.file("zeros");
      std::string content = bytes.substr(0, size) + std::string(zeros, '\0');
      // Of a record that ends with zeros, some are its own.
      Values whole = expected;
      for (const Step& step : steps) {
        if (content.substr(0, step.file_bytes) == bytes.substr(0, step.file_bytes))
          whole = step.values;
      }
      write_file(path, content);
      CAPTURE(size);
      CAPTURE(zeros);
      CHECK(open_and_go_on(path) == whole);
      std::filesystem::remove(path);
    }
  }
}

TEST_CASE("damage before the end is an error with path and offset, for readers and writers") {
  Folder folder;
  FileStore store(options(folder.file()));
  store.set("k", "1");
  std::string before = read_file(folder.file());
  FileStore writer(options(folder.file()));
  writer.set("k", "2");
  std::string bytes = read_file(folder.file());
  bytes[before.size() + file_format::kRecordHeadBytes + 2] ^= 1;
  // Two records are behind the damage, so that it is not the end.
  writer.set("l", "3");
  std::string all = bytes + read_file(folder.file()).substr(bytes.size());
  write_file(folder.file(), all);
  for (int i = 0; i < 2; ++i) {
    std::string where = "offset " + std::to_string(before.size());
    try {
      i == 0 ? static_cast<void>(store.check({"k"})) : store.set("k", "3");
      FAIL("no error");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::kProtocol);
      CHECK(error.message().find(where) != std::string::npos);
      CHECK(error.message().find(folder.file()) != std::string::npos);
    }
  }
  CHECK(read_file(folder.file()) == all);
}

TEST_CASE("a record of an unknown type is an error that names it, for readers and writers") {
  Folder folder;
  FileStore store(options(folder.file()));
  std::string record;
  file_format::RecordWriter(record, static_cast<file_format::RecordType>(77)).string("k").end();
  add_to_file(folder.file(), record);
  const std::string bytes = read_file(folder.file());
  for (int i = 0; i < 2; ++i) {
    try {
      i == 0 ? static_cast<void>(store.check({"k"})) : store.set("k", "1");
      FAIL("no error");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::kUnsupported);
      CHECK(error.message().find("type 77") != std::string::npos);
    }
  }
  CHECK(read_file(folder.file()) == bytes);
}
