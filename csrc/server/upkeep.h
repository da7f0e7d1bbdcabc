// What has to follow a change of a server's keys: whoever it woke is told, keys whose time is over are
// erased, and what is no longer remembered of watched prefixes is cleared out of memory. One thread at
// a time.
#pragma once

#include <optional>
#include <vector>

#include "base/timers.h"
#include "server/chores.h"
#include "store/table_view.h"

namespace rdzv {

struct ServerContext;

class Upkeep final : private Chore {
 public:
  explicit Upkeep(ServerContext& context) : context_(context) {}
  ~Upkeep() override;

  // Tells those whose waits an operation satisfied. Called after every operation that writes.
  void wake();
  // Called after watched prefixes have gone, so that they are cleared: in parts, as all that is left.
  void work_later();
  // Erases keys whose time is over, once in a turn. Called before requests are handled, so that
  // none of them sees such a key, however late its timer is; of very many, some are seen a little
  // longer. Time in which the server was stalled does not count: what renews a key may lie unread.
  void expire();
  void end_turn();
  // There are more keys whose time is over.
  bool is_overdue() const { return is_overdue_; }

 private:
  // Tells more of those who were woken, and clears more.
  bool work(Budget& left) override;
  bool has_work() const;
  void tell(std::vector<TableView::Woken> woken);
  void set_timer();

  ServerContext& context_;
  // Of the key that expires first, if one does.
  std::optional<Timers::Id> timer_;
  bool has_expired_ = false;  // in this turn
  bool is_overdue_ = false;
};

}  // namespace rdzv
