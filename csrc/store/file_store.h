// A store in a file, for the processes of one host or of a shared file system; needs no server. The
// format and its rules are in docs/filestore.md.
//
// Every process keeps all values in memory and follows the file: reading is one look at its size,
// writing is lock, look, add one record, unlock. Waiting sleeps until the file changes where the
// system tells, else it looks at the size every few milliseconds.
// Any thread may use one object; a forked child may not, and gets kClosed.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/file_clock.h"
#include "store/file_open.h"
#include "store/file_replica.h"
#include "store/file_watch.h"
#include "store/local_store.h"

namespace rdzv {

class FileStore final : public LocalStore, private FileReplica::Listener {
 public:
  struct Options {
    std::string path;
    // Who continues with the values that are in the file when nobody uses it; empty: nobody does.
    std::string job_id;
    Duration timeout = kDefaultTimeout;  // to open it, and of later calls
    uint64_t compact_min_bytes = kCompactMinBytes;
    // Treat the file as one that other hosts write, whatever its file system.
    bool shared = false;
    BootId boot = this_boot();   // of this host
    WallClock clock = wall_now;  // what times to live are measured with
  };

  explicit FileStore(const Options& options);
  ~FileStore() override;

  const std::string& path() const { return path_; }

  TakenBytes queue_pop(Bytes key, bool block, Duration timeout) override;
  using Store::clone;
  std::shared_ptr<Store> clone(Duration timeout) override;
  std::string describe() const override { return "FileStore " + path_; }

 private:
  Table& table() override { return replica_->table(); }
  Instant table_now() const override { return replica_->now(); }
  Lock begin_reading(const char* operation, Duration timeout) override;
  Lock begin_writing(const char* operation, Duration timeout) override;
  void end_writing() override { replica_->log().unlock(); }
  void put(Bytes key, Bytes value, std::optional<Instant> expires_at) override;
  void put_all(const std::vector<Bytes>& pairs) override;
  void extend(Bytes key, Bytes value) override;
  void erase(Bytes key) override;
  void erase_prefix(Bytes prefix) override;
  void push(Bytes key, Bytes item) override;
  void sleep_until_done(Lock& lock, Blocked& blocked, const Deadline& deadline,
                        const char* operation) override;
  void has_unblocked() override;

  void table_changed(Table& table) override { serve_woken(table); }
  void table_replaced(Table& before, Table& fresh) override;

  void throw_if_forked() const;
  // Makes the table current; mutex_ is held, but not throughout.
  void refresh(Lock& lock, const char* operation, Duration timeout);
  [[noreturn]] void throw_locked_out(const char* operation, Duration elapsed) const;
  // Under the writer's lock: one record, which `make` fills with what follows its type.
  template <typename Make>
  void write(file_format::RecordType type, Make&& make);
  std::optional<std::string> try_pop(Bytes key, Duration timeout);

  struct Pace;
  bool sleep(Lock& lock, Blocked& blocked, const Deadline& deadline, Pace& pace);

  const Options options_;
  const std::string path_;  // as it was given
  std::string real_path_;   // does not change once it is open
  const uint64_t fork_generation_;

  // mutex_ protects all below; it is not held while sleeping.
  FileFd users_;
  std::unique_ptr<FileReplica> replica_;
  // One of the blocked calls watches the file for all.
  FileWatch watch_;
  bool watching_ = false;
  std::string record_;  // being written
};

}  // namespace rdzv
