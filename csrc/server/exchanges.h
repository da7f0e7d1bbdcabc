// What exchanges have come to, one view of each for all who ask: up to which rank all have come,
// and the answer that is made of all values once they have. A view goes on from where it stopped,
// so that an arrival costs the same however many have come, and an answer is made in slices. The
// slots are marked (Table::mark): if one of them is written again, the answer is made anew, and if
// one may have been erased, all are looked at again.
//
// There are views of a few exchanges, those that were asked for last. Belongs to the server's loop
// thread.
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
#include "wire/limits.h"

namespace rdzv {

class Exchanges {
 public:
  static constexpr size_t kViewsMax = 16;
  // The marks that are used for it; nobody else uses them.
  static constexpr Table::Marks kMarks = ~(~Table::Marks{0} >> kViewsMax);

  struct Progress {
    enum class State {
      kSpent,    // the budget, before anything was known: ask again
      kMissing,  // `rank` has not come
      kWhole,    // all have; `body` is the answer, valid until the next call
    };
    State state = State::kSpent;
    int64_t rank = 0;
    const AnswerBody* body = nullptr;
  };

  explicit Exchanges(TableView& table) : table_(table) {}

  // Looks at the slots that it does not know yet; if all are there, makes the answer.
  Progress ask(Bytes key, int64_t world_size, Budget& budget);
  // Below this rank all have come, as far as is known without looking.
  int64_t come(Bytes key, int64_t world_size) const;

  // At the end of a turn: lets go of answers that are out of date, or too large to keep for who may
  // ask again.
  void trim(size_t bytes_max = limits::kComposedBytesMax);
  size_t bytes() const;
  // How many slots were looked at, for tests.
  uint64_t looks() const { return looks_; }

 private:
  struct View {
    std::string key;
    int64_t world_size = 0;
    Table::Marks mark = 0;
    // Below this rank all slots are there, unless one was erased after it was written again: making
    // the answer finds that out.
    int64_t come = 0;
    uint64_t losses = 0;   // of the table, when come was 0
    int64_t composed = 0;  // below this rank all values are in the body
    AnswerBody body;
    bool is_asked_for = false;  // in this turn
  };

  View& view_of(Bytes key, int64_t world_size);
  bool is_good(const View& view) const;
  void look_for_hits(View& view);
  static void forget_body(View& view);
  bool look(View& view, Budget& budget);
  bool compose(View& view, Budget& budget);

  TableView& table_;
  std::vector<std::unique_ptr<View>> views_;  // the last used one first
  View* composing_ = nullptr;                 // one at a time, so that parts of few are kept
  uint64_t looks_ = 0;
};

}  // namespace rdzv
