// What all makers of a barrier or an exchange agree on: where it is kept, what an arrival finds,
// what it writes, and when it is refused because the key has served already. Callers over either
// protocol, and the server, may meet in one. Pure; any thread.
//
// At the key is the number of those who have come, at key/rank what each rank gave (an exchange) or
// which round it has come to (a barrier with ranks), and at key/world_size how many there are. All
// are ordinary keys. What an arrival writes appears at once where the store can do that; where it
// cannot, whoever is not shown yet is counted first. So the count may be too high, never too low:
// all have come when the count and all that is at the ranks say so.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "store/exchange.h"

namespace rdzv {

class Table;

// The key of how many there are.
std::string meeting_size_key(Bytes key);

// Whose place it is at a barrier.
struct BarrierSeat {
  static constexpr int64_t kNoRank = INT64_MIN;  // no caller can mean it, as he could -1

  int64_t world_size = 0;
  int64_t rank = kNoRank;
  // With a rank: from 1 on, so that one key serves again and again.
  int64_t round = 1;

  bool has_rank() const { return rank != kNoRank; }
};

// Who comes to a barrier.
struct BarrierCall : BarrierSeat {
  Bytes key;
  Bytes shown_key;  // for messages: on the wire, keys carry a '/'
  // With a rank: tells one call from another, and the same call sent again from a new one.
  uint64_t token = 0;

  // What the count is when all have come.
  int64_t target() const { return round * world_size; }
};

struct ExchangeCall {
  Bytes key;
  Bytes shown_key;
  int64_t rank = 0;
  int64_t world_size = 0;
  Bytes value;
};

// A call that no store takes.
std::optional<Error> refusal_of(const BarrierCall& call);
std::optional<Error> refusal_of(const ExchangeCall& call);
// Throw that; kLimit for what is too large.
void check_barrier(const BarrierCall& call);
void check_exchange(const ExchangeCall& call);

// What a caller finds: the value at key/world_size, and the count.
struct MeetingFound {
  std::optional<std::string> world_size;
  int64_t count = 0;
};
// What the rank of an exchange has given before.
enum class Gave { kNothing, kTheSame, kAnother };

// What comes of an arrival. `counts`: add 1 to the count. `writes`: put slot_of(call), or the value
// of an exchange, into the slot.
struct Arrival {
  std::optional<Error> refusal;
  bool counts = false;
  bool writes = false;
  // Of an exchange: refused with used_error() if all ranks have come.
  bool may_be_used = false;
};
Arrival arrive(const BarrierCall& call, const MeetingFound& found,
               const std::optional<std::string>& slot);
Arrival arrive(const ExchangeCall& call, const MeetingFound& found, Gave gave);
Error used_error(const ExchangeCall& call);

// The slot of a rank that is in the round, and of one whose call ended without that all had come.
std::string slot_of(const BarrierCall& call);
std::string left_slot_of(const BarrierCall& call);
// The round that a slot says; 0 for what is none.
int64_t round_in(Bytes slot);

// The same on a table: what is to be written, in one step.
struct TableStep {
  std::optional<Error> refusal;
  std::vector<Bytes> pairs;  // key, value, key, value...; those of the call, or `owned`
  std::deque<std::string> owned;
};
TableStep arrive(const BarrierCall& call, const Table& table);
// `have_all_come`, for who knows it without looking at all slots; asked only if the count says so.
TableStep arrive(const ExchangeCall& call, const Table& table,
                 const std::function<bool()>& have_all_come = nullptr);
// For one whose time is over, and who was not let through.
TableStep leave(const BarrierCall& call, const Table& table);
// Ranks that have not come to the round, or to the exchange, ascending: as many as an error names.
// The search ends with them, so that who asks again and again costs little while few have come.
std::vector<int64_t> missing_ranks(const BarrierCall& call, const Table& table);
// From the rank `first` on.
std::vector<int64_t> missing_ranks(Bytes key, int64_t world_size, const Table& table,
                                   size_t max = kMissingMax, int64_t first = 0);
// How many there are, named or not, when `count` of `target` have come.
size_t missing_count(const std::vector<int64_t>& named, int64_t target, int64_t count);

// `missing`: ranks, ascending.
std::string barrier_timeout_text(const BarrierCall& call, int64_t count,
                                 const std::vector<int64_t>& missing, Duration elapsed);

// Names the key, and the first of the ranks.
Missing missing_at(Bytes key, std::vector<int64_t> ranks);

}  // namespace rdzv
