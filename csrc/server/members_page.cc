#include "server/members_page.h"

#include <algorithm>
#include <chrono>
#include <type_traits>

#include "base/bytes.h"
#include "group/limits.h"
#include "wire/limits.h"
#include "wire/native.h"

namespace rdzv {
namespace {

uint32_t clamped_ms(Duration length) {
  const int64_t ms = std::chrono::floor<std::chrono::milliseconds>(length).count();
  return static_cast<uint32_t>(std::clamp<int64_t>(ms, 0, int64_t{native::kNotHeard} - 1));
}

}  // namespace

MembersPage::MembersPage(const native::MembersRequest& request)
    : run_id_(request.run_id),
      which_(request.which),
      limit_(std::min<size_t>(request.limit, limits::kMembersPerReplyMax)) {}

std::optional<MembersPage> MembersPage::begin(const native::MembersRequest& request) {
  MembersPage page(request);
  if (!page.set_cursor(request.cursor)) return std::nullopt;
  return page;
}

bool MembersPage::set_cursor(Bytes cursor) {
  if (cursor.empty()) return true;
  ByteReader reader(cursor);
  if (which_ == native::MemberList::kSpares) {
    serial_ = reader.u64();
  } else if (cursor.size() == sizeof(uint32_t) && which_ == native::MemberList::kParticipants) {
    rank_ = reader.u32();
  } else {
    native::RunNode node;
    const bool is_node = native::take(cursor, node) && node.addr.size() <= kNodeAddrBytesMax;
    if (is_node) node_ = node_of(node);
    return is_node;
  }
  return reader.ok() && reader.left() == 0;
}

bool MembersPage::go_on(const Runs& runs, Instant now, Budget& budget) {
  const Run* run = runs.find(run_id_);
  if (run == nullptr) {
    is_last_ = true;
    return true;
  }
  total_ = clamped(total(which_, run->group().state()));
  return is_full() || go_on(run->group(), now, budget);
}

bool MembersPage::go_on(const Group& group, Instant now, Budget& budget) {
  const GroupState& state = group.state();
  const Roster& roster = state.roster;
  const auto heard = [&](const NodeId& node) {
    const std::optional<Duration> silence = group.silence_of(node, now);
    return silence ? clamped_ms(*silence) : native::kNotHeard;
  };
  if (which_ == native::MemberList::kSpares) {
    return walk(roster.spares(), budget, [&](uint64_t serial, const NodeId& node) {
      items_.push_back({node, native::kNoRank, heard(node)});
      serial_ = serial;
    });
  }
  if (which_ == native::MemberList::kLost) {
    return walk(state.lost, budget, [&](const NodeId& node, const Loss&) {
      items_.push_back({node});
      node_ = node;
    });
  }
  if (!rank_) {
    const Role role = which_ == native::MemberList::kWaiting ? Role::kWaiting : Role::kActive;
    const bool is_over =
        walk(roster.list(role), budget, [&](const NodeId& node, const Member& member) {
          if (wants(member)) {
            const bool is_active = member.role == Role::kActive;
            items_.push_back({node, is_active ? member.rank : native::kNoRank, heard(node)});
          }
          node_ = node;
        });
    if (!is_over || !is_last_ || which_ != native::MemberList::kParticipants) return is_over;
    rank_ = 0;
  }
  return walk_expected(roster.expected(), budget);
}

bool MembersPage::walk_expected(const RankSet& ranks, Budget& budget) {
  is_last_ = true;
  ranks.for_each(
      [&](uint32_t rank) {
        rank_ = rank;
        is_last_ = !is_full() && !budget.is_spent();
        if (!is_last_) return false;
        items_.push_back({stand_in(rank), rank});
        budget.spend(Budget::kName);
        return true;
      },
      *rank_);
  return is_last_ || is_full();
}

// On from the one that was passed last. True: the page is full, or the map is at its end.
template <typename Map, typename Visit>
bool MembersPage::walk(const Map& map, Budget& budget, Visit&& visit) {
  auto at = map.begin();
  if constexpr (std::is_same_v<typename Map::key_type, NodeId>) {
    if (node_) at = map.upper_bound(*node_);
  } else {
    if (serial_) at = map.upper_bound(*serial_);
  }
  for (; at != map.end() && !is_full() && !budget.is_spent(); ++at) {
    visit(at->first, at->second);
    budget.spend(Budget::kName);
  }
  is_last_ = at == map.end();
  return is_last_ || is_full();
}

bool MembersPage::wants(const Member& member) const {
  if (which_ == native::MemberList::kWaiting) return member.role == Role::kWaiting;
  return member.role == Role::kForming || member.role == Role::kActive;
}

size_t MembersPage::total(native::MemberList which, const GroupState& state) {
  switch (which) {
    case native::MemberList::kParticipants:
      return state.roster.count(Role::kForming) + state.roster.count(Role::kActive);
    case native::MemberList::kWaiting:
      return state.roster.count(Role::kWaiting);
    case native::MemberList::kSpares:
      return state.roster.count(Role::kSpare);
    case native::MemberList::kLost:
      break;
  }
  return state.lost.size();
}

native::MembersReply MembersPage::reply() {
  native::MembersReply reply;
  reply.total = total_;
  for (const Item& item : items_) {
    reply.items.push_back({wire_node(item.node), item.rank, item.silent_ms});
  }
  if (is_last_) return reply;
  cursor_.clear();
  if (serial_) native::put_u64(cursor_, *serial_);
  if (rank_) {
    native::put_u32(cursor_, *rank_);
  } else if (node_) {
    native::put(cursor_, wire_node(*node_));
  }
  reply.cursor = cursor_;
  return reply;
}

}  // namespace rdzv
