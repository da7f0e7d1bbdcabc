// All that can change what a server keeps (state.h), each with what it takes but the time. The same
// changes at the same times, made on equal states, leave equal states and have the same effects.
// Views and references are the caller's: who keeps a change copies what they show.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "group/facts.h"
#include "group/giving_up.h"
#include "group/node.h"
#include "group/settings.h"
#include "store/table.h"

namespace rdzv {
namespace change {

struct Set {
  Bytes key;
  Bytes value;
};
// Its time to live is counted by Moment::awake.
struct SetFor {
  Bytes key;
  Bytes value;
  Duration ttl{};
};
struct Append {
  Bytes key;
  Bytes value;
};
struct MultiSet {
  const std::vector<Bytes>& pairs;  // key, value, key, value...
};
struct CompareSet {
  Bytes key;
  Bytes expected;
  Bytes desired;
};
struct SetIfVersion {
  Bytes key;
  Bytes value;
  uint64_t version = 0;
};
struct Add {
  Bytes key;
  int64_t amount = 0;
};
struct Erase {
  Bytes key;
};
// Of up to `max` keys further than `walk`, those that were not written after `version`.
struct EraseWalked {
  const Table::PrefixWalk& walk;
  size_t max = 0;
  uint64_t version = 0;
};
// Keys whose time is over.
struct Expire {
  size_t max = 0;
};
struct Push {
  Bytes key;
  Bytes item;
};
struct Pop {
  Bytes key;
};
struct Unpop {
  Bytes key;
  Bytes item;
};

struct JoinRun {
  Bytes run;
  const NodeId& node;
  GroupSettings settings;
  uint64_t after_round = 0;
  NodeFacts facts{};
};
struct ResumeRun {
  Bytes run;
  const NodeId& node;
  GroupSettings settings;
  uint64_t round = 0;
  uint32_t rank = 0;
  uint32_t world_size = 0;
  NodeFacts facts{};
};
struct LeaveRun {
  Bytes run;
  const NodeId& node;
  bool failed = false;
  std::optional<Ending> ending{};  // it goes for good
  bool do_not_restart = false;
};
struct CloseRun {
  Bytes run;
  std::string reason{};
  bool do_not_restart = false;
};
struct KeepAlive {
  Bytes run;
  const NodeId& node;
};
// Its connection broke, and it did not come back.
struct DropNode {
  Bytes run;
  const NodeId& node;
};
// Nodes whose keep-alives stopped, and the last call.
struct ExpireRun {
  Bytes run;
  size_t max = 0;
};
struct ForgetRun {
  Bytes run;
};

}  // namespace change

using Change =
    std::variant<change::Set, change::SetFor, change::Append, change::MultiSet, change::CompareSet,
                 change::SetIfVersion, change::Add, change::Erase, change::EraseWalked,
                 change::Expire, change::Push, change::Pop, change::Unpop, change::JoinRun,
                 change::ResumeRun, change::LeaveRun, change::CloseRun, change::KeepAlive,
                 change::DropNode, change::ExpireRun, change::ForgetRun>;

}  // namespace rdzv
