// One page of a run's nodes, found in slices. A page goes on where the last one ended: its cursor
// says which node that was, so that a page costs what it passes, and not the whole list. Who comes
// or goes between two pages is seen or not; all others are seen once.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "group/node.h"
#include "server/budget.h"
#include "server/runs.h"
#include "wire/run_look_messages.h"
#include "wire/run_messages.h"

namespace rdzv {

class MembersPage {
 public:
  // None: the cursor is none of this list's.
  static std::optional<MembersPage> begin(const native::MembersRequest& request);

  // True: the page is whole.
  bool go_on(const Runs& runs, Instant now, Budget& budget);
  // Valid as long as the page.
  native::MembersReply reply();

 private:
  struct Item {
    NodeId node;
    uint32_t rank = native::kNoRank;
    uint32_t silent_ms = native::kNotHeard;
  };

  explicit MembersPage(const native::MembersRequest& request);

  bool set_cursor(Bytes cursor);
  bool go_on(const Group& group, Instant now, Budget& budget);
  bool walk_expected(const RankSet& ranks, Budget& budget);
  template <typename Map, typename Visit>
  bool walk(const Map& map, Budget& budget, Visit&& visit);
  bool wants(const Member& member) const;
  bool is_full() const { return items_.size() >= limit_; }
  static size_t total(native::MemberList which, const GroupState& state);

  std::string run_id_;
  native::MemberList which_;
  size_t limit_;
  // The node that was passed last; of spares, its serial; of ranks whose nodes are not known, which
  // come behind the nodes, the next one.
  std::optional<NodeId> node_;
  std::optional<uint64_t> serial_;
  std::optional<uint32_t> rank_;
  uint32_t total_ = 0;
  bool is_last_ = false;
  std::vector<Item> items_;
  std::string cursor_;
};

}  // namespace rdzv
