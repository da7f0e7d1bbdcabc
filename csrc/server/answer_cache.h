// Answers that are made of many keys, made once for all who ask for the same keys: the values of a
// MULTI_GET, whether a WAIT or CHECK finds all of them, which ones a time-out names.
// What was made of a list of keys stays good while none of them changes, which the table tells
// (Table::mark), so asking again costs the comparison of the request's bytes with those of the
// list. It is made in slices: who gets nothing because the budget was spent asks again. One list is
// worked on at a time, and whoever asks for another helps it along, so that parts of few are kept.
//
// Lists are remembered up to a number and a size; what is least recently asked for goes first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "server/answer_body.h"
#include "server/budget.h"
#include "store/table.h"
#include "store/wanted_keys.h"
#include "wire/limits.h"

namespace rdzv {

class AnswerCache {
 public:
  // Lists of fewer keys cost less than the search for what was made of them.
  static constexpr size_t kKeysMin = 8;

  // How an answer carries the values, and how a request names the keys.
  enum class Form : uint8_t {
    kNative,  // MULTI_GET's answer: count, then version and bytes of each
    kC10d,    // bytes of each; nothing there reads as empty
  };

  // Which keys are missing. Positions in the list, ascending.
  struct Missing {
    std::vector<int64_t> at;
    // The first few of them, as many as a message names.
    std::vector<Bytes> names;
  };

  // What is looked up and made is spent from the budget.
  // It uses these marks, and nobody else does.
  AnswerCache(TableView& table, Budget& budget, Table::Marks marks = ~Table::Marks{0})
      : table_(table), budget_(budget), marks_(marks) {}

  // The list that was asked for with these bytes; null if it is not remembered.
  SharedKeys find(Form form, Bytes request);
  // One whose request begins with these bytes, or the other way round.
  SharedKeys find_like(Form form, Bytes beginning);
  // `keys` are views of parts of `request`.
  SharedKeys remember(Form form, Bytes request, const std::vector<Bytes>& keys);

  // Of these keys, which have no value; for kPresent, which have no queue either. All that are
  // missing are, or one was while it was looked for. Null: the budget is spent.
  const Missing* missing(Form form, const SharedKeys& keys, Table::Need need);
  // Their values, all of one moment. Null: the budget is spent, or one is missing by now, but for
  // kC10d.
  const AnswerBody* body(Form form, const SharedKeys& keys);

  // At the end of a turn: lets go of what is out of date or too much to keep.
  void trim(size_t bytes_max = limits::kComposedBytesMax);

  // What it keeps, for tests.
  size_t bytes() const;
  size_t lists() const { return entries_.size(); }
  // How often it went through the keys of a list.
  uint64_t looks() const { return looks_; }

 private:
  struct Entry {
    Form form = Form::kNative;
    SharedKeys keys;
    Table::Marks mark = 0;
    size_t looked = 0;     // below this key all are marked
    bool was_hit = false;  // since the first was: what was found does not last
    uint64_t losses = 0;   // of the table then
    Missing without_value;
    Missing absent;
    AnswerBody body;
    size_t composed = 0;            // below this key all values are in the body
    uint64_t is_awaited_until = 0;  // this turn; somebody asks again

    Bytes named() const { return keys->text(); }
    size_t bytes() const;
  };
  static constexpr uint64_t kTurnsAwaited = 100;

  template <typename Matches>
  Entry* find_entry(Matches&& matches);
  SharedKeys find_named(Form form, Bytes name);
  Entry& add(Form form, SharedKeys keys);
  // It stays until the next call.
  Entry* entry_of(Form form, const SharedKeys& keys);
  bool look(Entry& entry);
  bool compose(Entry& entry);
  void look_for_hits(Entry& entry);
  static void forget_body(Entry& entry);
  bool unmark(Budget& budget);
  void drop_last();
  void keep_within(size_t bytes_max, size_t entries_min);

  TableView& table_;
  Budget& budget_;
  std::vector<std::unique_ptr<Entry>> entries_;  // the last used one first
  const Table::Marks marks_;
  Table::Marks free_marks_ = marks_;
  std::vector<std::unique_ptr<Entry>> going_;  // whose marks have to be taken back
  Entry* working_ = nullptr;                   // looked at or composed in part
  bool has_grown_ = false;                     // since trim()
  uint64_t turn_ = 0;
  uint64_t looks_ = 0;
};

}  // namespace rdzv
