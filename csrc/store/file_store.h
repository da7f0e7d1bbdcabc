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

#include "base/mutex.h"
#include "store/file_clock.h"
#include "store/file_open.h"
#include "store/file_replica.h"
#include "store/file_watch.h"
#include "store/meeting.h"
#include "store/store.h"
#include "store/table.h"

namespace rdzv {

class FileStore final : public Store, private FileReplica::Listener {
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

  void set(Bytes key, Bytes value) override;
  std::string get(Bytes key, Duration timeout) override;
  TakenBytes read(Bytes key, Duration timeout) override;
  Exchange compare_exchange(Bytes key, Bytes expected, Bytes desired) override;
  int64_t add(Bytes key, int64_t amount) override;
  bool check(const std::vector<Bytes>& keys) override;
  void wait(const std::vector<Bytes>& keys, Duration timeout) override;
  bool delete_key(Bytes key) override;
  int64_t num_keys() override;
  std::vector<std::string> list_keys(Bytes prefix) override;
  void append(Bytes key, Bytes value) override;
  std::vector<std::string> multi_get(const std::vector<Bytes>& keys, Duration timeout) override;
  void multi_set(const std::vector<Bytes>& pairs) override;
  void queue_push(Bytes key, Bytes item) override;
  std::string queue_pop(Bytes key, bool block, Duration timeout) override;
  int64_t queue_len(Bytes key) override;
  void barrier(Bytes key, int64_t world_size, Duration timeout) override;
  void barrier_as(Bytes key, const Seat& seat, Duration timeout) override;
  // Who comes and finds a complete exchange is told so under the lock; the rest is as of any store.
  std::vector<std::string> exchange(Bytes key, int64_t rank, int64_t world_size, Bytes value,
                                    Duration timeout) override;
  Versioned try_get(Bytes key) override;
  Versioned watch(Bytes key, uint64_t known_version, Duration timeout) override;
  VersionSet set_if_version(Bytes key, Bytes value, uint64_t version) override;
  void set_for(Bytes key, Bytes value, Duration ttl) override;
  int64_t delete_prefix(Bytes prefix) override;
  using Store::clone;
  std::shared_ptr<Store> clone(Duration timeout) override;
  std::string describe() const override { return "FileStore " + path_; }

 private:
  struct Blocked;
  class WriterLock;

  void table_changed(Table& table) override;
  void table_replaced(Table& before, Table& fresh) override;

  void throw_if_forked() const;
  void check_locked(const char* operation, Duration timeout);
  // Runs `work` with mutex_ and the writer's lock held and all records applied.
  template <typename Work>
  auto with_lock(const char* operation, Duration timeout, Work&& work);
  // Makes the table current; mutex_ is held, but not throughout.
  void refresh(Lock& lock, const char* operation, Duration timeout);
  [[noreturn]] void throw_locked_out(const char* operation, Duration elapsed) const;
  // These under the writer's lock.
  void put(Bytes key, Bytes value);
  void put_until(Bytes key, Bytes value, Instant expires_at);
  void write(Bytes record);

  void write_pairs(const std::vector<Bytes>& pairs);
  void meet(const BarrierCall& call, Duration timeout);
  void arrive_at(const BarrierCall& call, Duration timeout);
  void arrive_at(const ExchangeCall& call, Duration timeout);
  std::optional<Error> leave_from(const BarrierCall& call, Duration elapsed);
  std::optional<std::string> try_pop(Bytes key, Duration timeout);

  std::vector<std::string> wait_for(const char* operation, const std::vector<Bytes>& keys,
                                    Duration timeout, Table::Need need);
  struct Pace;
  bool sleep(Lock& lock, Blocked& blocked, const Deadline& deadline, Pace& pace);
  void pass_on_the_watch();
  void sleep_until_done(Lock& lock, Blocked& blocked, const Deadline& deadline,
                        const char* operation);

  const Options options_;
  const std::string path_;  // as it was given
  std::string real_path_;   // does not change once it is open
  const uint64_t fork_generation_;

  Mutex mutex_;  // protects all below; not held while sleeping
  FileFd users_;
  std::unique_ptr<FileReplica> replica_;
  std::vector<Blocked*> blocked_;
  // One of the blocked calls watches the file for all.
  FileWatch watch_;
  bool watching_ = false;
  std::string record_;  // being written
};

}  // namespace rdzv
