// GroupState as bytes: what backends keep in a store. Canonical: equal states have equal bytes, and
// whatever decodes encodes to the same bytes again. The decoder also refuses states that no
// sequence of operations leads to, so that the rules may rely on their invariants. Pure, never
// throws, holds nothing: any thread.
//
// Little-endian; flags are one byte, 0 or 1:
//   u8 version = 2 | flags closed, complete, rejoined | flag settings follow
//   if so: settings, as in the native protocol (wire/run_messages.h)
//   u64 round | u64 finished_round | u64 round_floor | u64 attempt | u64 serial | u64 last_call | u64 newcomer | u32 world_size
//   u16 length, that many bytes of close_reason | u64 closed_unix_ms | flag do_not_restart
//   u64 failed_round | flag cause follows
//   if so: node | u32 exit code | u64 unix_ms | u16 length, that many bytes of its last line
//   u32 n, n participants in natural order: member
//   u32 n, n waiting in natural order: member
//   u32 n, n spares by ascending serial: member
//   u32 n, n lost in natural order: node | u8 reason (state.h) | u32 rank, 0xFFFFFFFF for none
// with
//   node = u8 length, that many bytes of addr | i64 pid | u64 local_id
//   member = node | u64 serial | u32 beats | u8 what follows and is
//     what it has, in this order: 1: u32 rank; of who is active or done always, else that of the last
//     round. 2: u32 given rank. 4: u8 length, that many bytes of its topology key. And 8: it is done
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "group/state.h"

namespace rdzv {

inline constexpr uint8_t kStateVersion = 2;

// What a member has.
inline constexpr uint8_t kHasRank = 1, kHasGivenRank = 2, kHasTopology = 4, kIsDone = 8;

std::string encode_state(const GroupState& state);

// All or nothing: `into` is replaced when nothing is returned, and untouched when an error (kState;
// it says what and at which byte) is.
[[nodiscard]] std::optional<Error> decode_state(Bytes bytes, GroupState& into);

}  // namespace rdzv
