// What a server keeps for its clients: the keys and queues of its table, and the group of each run.
// All that changes it is a Change that passes through apply(), which says what came of it; whom it
// woke, TableView::take_woken() says. So a journal that is told of each can make the same state
// again. Owns that no run is kept both here and by compare-and-set clients in the table: while a
// run is kept here, a marker stands at its key. Pure: time is an argument.
#pragma once

#include <optional>
#include <string>
#include <type_traits>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/hash.h"
#include "group/group.h"
#include "server/changes.h"
#include "store/table.h"

namespace rdzv {

class Journal {
 public:
  virtual ~Journal() = default;
  // It was made. One that was refused has changed nothing, and is not told.
  virtual void record(const Change& change, const Moment& time) = 0;
};

class ServerState {
 public:
  // `seed`: nobody who chooses keys or names nodes may know it.
  // There is room for `keys_at_first`; versions are higher than `behind`.
  ServerState(HashSeed seed, size_t keys_at_first, uint64_t behind);

  HashSeed seed() const { return seed_; }
  const Table& table() const { return table_; }
  // The same for who waits for its keys, or marks them.
  TableView& view() { return table_; }
  // Null: nobody has changed a run of this id, or it was forgotten.
  const Group* run(Bytes id) const;
  size_t runs() const { return runs_.size(); }
  // visit(id, group).
  template <typename Visit>
  void for_each_run(Visit&& visit) const {
    for (const auto& [id, run] : runs_) visit(Bytes(id), run.group);
  }

  // Those of runs throw what Group does; and kState for a run that is kept by compare-and-set
  // clients. Then nothing has changed.
  template <typename Made>
  auto apply(const Made& change, const Moment& time) {
    auto effect = make(change, time);
    if (journal_ != nullptr) [[unlikely]] {
      journal_->record(change, time);
      // What comes to one who waits for it does not stay.
      if constexpr (std::is_same_v<Made, change::Push> || std::is_same_v<Made, change::Unpop>) {
        if (effect.is_taken) journal_->record(change::Pop{change.key}, time);
      }
    }
    return effect;
  }

  // Table::offer.
  void offer(std::string* buffer) { table_.offer(buffer); }
  // Of a run, clears up to `max` nodes out of memory (Group::sweep). True: none is left. It is no
  // change: nothing that is seen is another one.
  bool sweep(Bytes run, size_t max);

  // From now on. Null: nobody keeps one.
  void keep_journal(Journal* journal) { journal_ = journal; }

 private:
  struct Run {
    std::string key;  // in the table: see native::kRunKeyPrefix
    Group group;
  };
  struct Nothing {};
  struct Pushed {
    bool is_taken = false;  // by one who waited
  };
  struct Erased {
    size_t count = 0;
    Table::PrefixWalk walk;  // to go on with
  };

  uint64_t make(const change::Set& set, const Moment&) { return table_.set(set.key, set.value); }
  uint64_t make(const change::SetFor& set, const Moment& time) {
    return table_.set_for(set.key, set.value, time.awake + set.ttl);
  }
  uint64_t make(const change::Append& append, const Moment&) {
    return table_.append(append.key, append.value);
  }
  Nothing make(const change::MultiSet& set, const Moment&) {
    table_.multi_set(set.pairs);
    return {};
  }
  Table::CompareSet make(const change::CompareSet& set, const Moment&) {
    return table_.compare_set(set.key, set.expected, set.desired);
  }
  Table::VersionSet make(const change::SetIfVersion& set, const Moment&) {
    return table_.set_if_version(set.key, set.value, set.version);
  }
  Table::Add make(const change::Add& add, const Moment&) { return table_.add(add.key, add.amount); }
  bool make(const change::Erase& erase, const Moment&) { return table_.erase(erase.key); }
  Erased make(const change::EraseWalked& erase, const Moment&) {
    Erased erased{0, erase.walk};
    erased.count = table_.erase_walked(erased.walk, erase.max, erase.version);
    return erased;
  }
  size_t make(const change::Expire& expire, const Moment& time) {
    return table_.expire(time.awake, expire.max);
  }
  Pushed make(const change::Push& push, const Moment&) {
    return {table_.push(push.key, push.item)};
  }
  std::optional<std::string> make(const change::Pop& pop, const Moment&) {
    return table_.pop(pop.key);
  }
  Pushed make(const change::Unpop& unpop, const Moment&) {
    return {table_.unpop(unpop.key, unpop.item)};
  }

  Nothing make(const change::JoinRun& join, const Moment& time);
  Resumed make(const change::ResumeRun& resume, const Moment& time);
  // True: the node was in it, and not done.
  bool make(const change::LeaveRun& leave, const Moment& time);
  Nothing make(const change::CloseRun& close, const Moment& time);
  Nothing make(const change::KeepAlive& keep_alive, const Moment& time);
  Nothing make(const change::DropNode& drop, const Moment& time);
  // The dead.
  std::vector<NodeId> make(const change::ExpireRun& expire, const Moment& time);
  Nothing make(const change::ForgetRun& forget, const Moment& time);

  // One that is kept here from then on, unless `act` throws.
  template <typename Act>
  auto change_run(Bytes id, const char* operation, Act&& act);

  const HashSeed seed_;
  Table table_{seed_};
  BytesMap<Run> runs_{0, BytesHash{seed_}};
  Journal* journal_ = nullptr;
};

}  // namespace rdzv
