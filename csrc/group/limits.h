// How large a group may get. The decoder checks these before it allocates, the rules before they
// change anything, so that neither a hostile writer of the store nor a runaway launcher makes a
// node swallow its memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rdzv {

inline constexpr size_t kGroupNodesMax =
    131'072;  // listed at once, spares and nodes that are done included
inline constexpr size_t kNodeAddrBytesMax = 255;  // its length is one byte
inline constexpr size_t kTopologyBytesMax = 127;
inline constexpr size_t kLostNodesMax =
    1'024;  // remembered; a larger loss is no less visible, only less named
inline constexpr uint32_t kKeepAliveAttemptsMax = 1'000'000;

// Rounds and serials are far from wrapping: what a node may bring along stays below half of what a
// state may hold.
inline constexpr uint64_t kAfterRoundMax = uint64_t{1} << 62;
inline constexpr uint64_t kAttemptMax = uint64_t{1} << 62;
inline constexpr uint64_t kRoundMax = (uint64_t{1} << 63) - 1;
inline constexpr uint64_t kSerialMax = (uint64_t{1} << 63) - 1;

// The largest state: see codec.h for what is counted here.
inline constexpr size_t kGroupHeaderBytesMax = 2048;
inline constexpr size_t kNodeBytesMax = 1 + kNodeAddrBytesMax + 8 + 8;
inline constexpr size_t kMemberBytesMax = kNodeBytesMax + 8 + 4 + 1 + 4 + 4 + 1 + kTopologyBytesMax;
inline constexpr size_t kLostBytesMax = kNodeBytesMax + 1 + 4;
inline constexpr size_t kGroupBytesMax =
    kGroupHeaderBytesMax + kGroupNodesMax * kMemberBytesMax + kLostNodesMax * kLostBytesMax;

}  // namespace rdzv
