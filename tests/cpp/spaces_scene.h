// What members of name spaces ask for, in a few words.
#pragma once

#include <string>

#include "core_world.h"

namespace rdzv::test {

constexpr auto kForEver = native::kNoTimeout;

inline std::string value_at(MemoryPeer& peer, Bytes key) {
  return std::string(
      peer.answer<native::TryGetRequest>(peer.ask(native::TryGetRequest{key})).value);
}

inline uint64_t keys_of(MemoryPeer& peer) {
  return peer.answer<native::NumKeysRequest>(peer.ask(native::NumKeysRequest{})).count;
}

inline void set(MemoryPeer& peer, Bytes key, Bytes value = "v") {
  peer.answer<native::SetRequest>(peer.ask(native::SetRequest{key, value}));
}

}  // namespace rdzv::test
