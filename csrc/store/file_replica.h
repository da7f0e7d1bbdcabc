// What this process knows of a FileStore: a Table, and the file it comes from. Follows the file
// when another takes its place (compaction), and compacts it. Serialised by its owner, who also
// decides when the writer's lock is held.
//
// Keys whose time has passed are never in the table that others see. Only a record deletes them,
// as only the file says what happened in which order, so without the lock they are set aside.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "store/file_clock.h"
#include "store/file_format.h"
#include "store/file_log.h"
#include "store/table.h"

namespace rdzv {

// A file is compacted when it is larger than both: this, and this many times what it would be then.
inline constexpr uint64_t kCompactMinBytes = 1024 * 1024;
inline constexpr uint64_t kCompactRatio = 4;

class FileReplica {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // After each record, so that who waits gets the values that it waited for, and after keys
    // were set aside.
    virtual void table_changed(Table& table) = 0;
    // Waiters must move.
    virtual void table_replaced(Table& before, Table& fresh) = 0;
  };

  // `log`: its header was read, and nothing else.
  FileReplica(FileLog log, file_format::Header header, uint64_t compact_min_bytes, WallClock clock,
              Listener& listener);

  Table& table() { return *table_; }
  Instant now() const { return clock_(); }
  FileLog& log() { return log_; }

  // Without the lock. False: what follows looks wrong; catch_up_locked has the verdict.
  bool catch_up();
  // Under the lock, which it also uses to delete what is due. False: another file has taken its
  // place; release the lock, reload, try again.
  bool catch_up_locked();
  // Reads the file that is there now. Throws kConnection if there is none, kRestarted if it holds
  // another store. Waiters see what was still written to the old one.
  bool reload();
  // Under the lock, caught up: adds `record` to the file and to the table.
  void write(Bytes record);
  // Under the lock, caught up. Afterwards another file may be open and the lock gone with the old
  // one. A failure is logged: the store works without.
  void compact_if_due();

 private:
  // Applies records to a table.
  class TableSink final : public FileLog::Sink {
   public:
    TableSink(Table& table, const std::string& path, Listener* listener)
        : table_(&table), path_(path), listener_(listener) {}
    void set_table(Table& table) { table_ = &table; }
    // The table, which is empty, will get what the file has between these.
    void expect(uint64_t begin, uint64_t end);
    void apply(Bytes body, uint64_t offset) override;

   private:
    Table* table_;
    const std::string path_;
    Listener* listener_;
    file_format::Record record_;
    uint64_t reserve_at_ = UINT64_MAX;  // the offset of the file from which the rest is estimated
  };

  struct Aside {
    std::string key;
    Table::Value value;
    Instant expires_at;
  };

  bool is_due(const Table& table) const;
  void set_aside(Table& table);
  void bring_back();
  void expire_due();
  uint64_t live_bytes() const;

  FileLog log_;
  file_format::Header header_;
  uint64_t compact_min_bytes_;
  uint64_t compact_at_;  // the size of the file above which it is looked at again
  const WallClock clock_;
  Listener& listener_;
  std::unique_ptr<Table> table_;
  std::vector<Aside> aside_;
  TableSink sink_;
};

}  // namespace rdzv
