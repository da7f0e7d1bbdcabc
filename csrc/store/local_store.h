// A store whose values are in a Table of this process: every operation on it, and waiting. How the
// table is locked and kept up, and how a change gets into it, is the matter of who derives from it.
//
// A blocked call sleeps on its own condition, and whoever changes the table gives it the values
// that it waits for, while they are there.
#pragma once

#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "store/meeting.h"
#include "store/store.h"
#include "store/table.h"

namespace rdzv {

class LocalStore : public Store {
 public:
  RDZV_STORE_OPERATIONS

 protected:
  // A blocked call, which has mutex_ when it is made and when it goes.
  struct Blocked : Table::WaiterOwner {
    Blocked(LocalStore& to, const std::vector<Bytes>& wanted, Table::Need what, int64_t count = 0);
    ~Blocked();

    void park(Table& table);
    void sleep(Lock& lock, Duration length);
    // `item`: kItem's.
    void finish(Table& table, std::string item = {});

    LocalStore& store;
    const std::vector<Bytes>& keys;
    const Table::Need need;
    const int64_t target;
    const std::thread::id thread = std::this_thread::get_id();
    Table::Waiter* waiter = nullptr;
    bool done = false;
    bool asleep = false;  // else its thread looks by itself, or runs a signal's handler
    std::vector<TakenBytes> values;
    Versioned changed;
    std::string item;
    Condition woken;
  };

  // While it lives, the table is current and nobody else changes it, in whatever process.
  class Writing {
   public:
    Writing(LocalStore& store, const char* operation, Duration timeout)
        : store_(store), lock_(store.begin_writing(operation, timeout)) {}
    Writing(LocalStore& store, const char* operation)
        : Writing(store, operation, store.timeout()) {}
    Writing(const Writing&) = delete;
    Writing& operator=(const Writing&) = delete;
    ~Writing() { store_.end_writing(); }

   private:
    LocalStore& store_;
    const Lock lock_;
    const HeldRole role_;
  };

  virtual Table& table() = 0;
  // By the clock of the table's times to live.
  virtual Instant table_now() const = 0;
  // Locks mutex_ and makes the table current. `operation` and `timeout` are for who has to wait.
  virtual Lock begin_reading(const char* operation, Duration timeout) = 0;
  virtual Lock begin_writing(const char* operation, Duration timeout) = 0;
  virtual void end_writing() {}
  // The changes of a table, while it is written. They wake whom they serve.
  virtual void put(Bytes key, Bytes value, std::optional<Instant> expires_at = std::nullopt) = 0;
  virtual void put_all(const std::vector<Bytes>& pairs) = 0;
  virtual void extend(Bytes key, Bytes value) = 0;
  virtual void erase(Bytes key) = 0;
  virtual void erase_prefix(Bytes prefix) = 0;
  virtual void push(Bytes key, Bytes item) = 0;
  // Until it is done or the deadline passes. Returns or throws with the lock held.
  virtual void sleep_until_done(Lock& lock, Blocked& blocked, const Deadline& deadline,
                                const char* operation) = 0;
  // Another blocked call of this store goes.
  virtual void has_unblocked() {}

  static void serve_woken(Table& table);
  std::vector<TakenBytes> wait_for(const char* operation, const std::vector<Bytes>& keys,
                                   Duration timeout, Table::Need need);
  [[noreturn]] void throw_timeout(const std::string& text, Missing missing) const;

  Mutex mutex_;  // protects the table, and all below
  std::vector<Blocked*> blocked_;

 private:
  void take_step(const TableStep& step);
  std::optional<Error> leave_from(const BarrierCall& call, Duration elapsed);
};

}  // namespace rdzv
