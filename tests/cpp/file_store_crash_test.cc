// Processes that write to one FileStore and are killed at any moment: what is left is whole, and
// everybody agrees on it. The Python tests do the same with plain values; this is about the records
// that delete, by prefix and by the clock.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <exception>
#include <map>
#include <random>
#include <string>
#include <utility>

#include "base/error.h"
#include "file_support.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

constexpr Duration kHang = std::chrono::seconds(120);

// Until it is killed, or whoever would do that is gone.
void write_for_ever(const FileStore::Options& made, uint32_t seed, pid_t parent) {
  std::mt19937 random(seed);
  FileStore store(made);
  while (::getppid() == parent) {
    std::string prefix = "p" + std::to_string(random() % 4) + "/";
    std::string key = prefix + std::to_string(random() % 5);
    switch (random() % 8) {
      case 0:
        store.delete_prefix(prefix);
        break;
      case 1:
        store.set(key, std::string(random() % 3000, 'x'));
        break;
      case 2:
        store.set_if_version(key, "kept", store.try_get(key).version);
        break;
      case 3:
        store.append(key, "y");
        break;
      default:
        store.set_for(key, "short", std::chrono::milliseconds(1 + random() % 20));
    }
    store.add("writes", 1);
  }
}

class Writer {
 public:
  Writer(const FileStore::Options& made, uint32_t seed) {
    pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ != 0) return;
    try {
      write_for_ever(made, seed, parent);
    } catch (const std::exception&) {
    }
    ::_exit(1);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() {
    ::kill(pid_, SIGKILL);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    CHECK(WIFSIGNALED(status));
  }

 private:
  pid_t pid_;
};

using Content = std::map<std::string, std::pair<std::string, uint64_t>>;

Content content(FileStore& store) {
  Content found;
  for (const std::string& key : store.list_keys("")) {
    Store::Versioned now = store.try_get(key);
    if (now.version != 0) found[key] = {now.value, now.version};
  }
  return found;
}

}  // namespace

TEST_CASE("killed writers leave a file on which all agree, whatever they deleted last") {
  for (bool compacts : {false, true}) {
    Folder folder;
    FileStore::Options made = compacts ? compacting(folder.file()) : options(folder.file());
    FileStore witness(made);
    witness.add("writes", 0);
    std::mt19937 random(7);
    for (uint32_t round = 0; round < 15; ++round) {
      CAPTURE(round);
      {
        Writer one(made, 2 * round);
        Writer two(made, 2 * round + 1);
        // Killed after so many writes, wherever in the next one they are.
        int64_t writes = 20 + random() % 60;
        Store::Versioned now = witness.try_get("writes");
        for (int64_t end = std::stoll(now.value) + writes; std::stoll(now.value) < end;)
          now = witness.watch("writes", now.version, kHang);
      }
      for (const auto& [key, value] : content(witness)) {
        if (value.first.starts_with("short"))
          CHECK(witness.watch(key, value.second, kHang).version == 0);
      }
      FileStore late(made);
      CHECK(content(late) == content(witness));
      witness.set("settled", std::to_string(round));
      CHECK(content(late) == content(witness));
    }
    drain_log();
  }
}
