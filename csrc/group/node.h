// Who joins a group: an address, a process id and a number that tells several joiners of one
// process apart. Owns the natural order of nodes (host2 before host10), which decides ranks, and
// what a well-formed node is. Knows nothing of groups. Plain values: any thread.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/hash.h"

namespace rdzv {

struct NodeId {
  std::string addr;  // host name or IP address: 1 to 255 bytes of UTF-8 without control characters
  int64_t pid = 0;   // not negative
  uint64_t local_id = 0;

  // Throws kInvalidArgument when the parts are no well-formed node.
  static NodeId make(std::string addr, int64_t pid, uint64_t local_id);

  bool operator==(const NodeId&) const = default;
  // Total, and consistent with ==: natural order of addr, then its bytes, then pid, then local_id.
  std::strong_ordering operator<=>(const NodeId& other) const;
};

struct NodeHash {
  HashSeed seed;
  size_t operator()(const NodeId& node) const;
};

// Digit runs compare as numbers of any length, everything else bytewise. "a01" and "a1" are equal
// here.
std::strong_ordering compare_natural(std::string_view a, std::string_view b);

// Names end up in logs and on terminals, hence no control characters.
bool is_printable_utf8(std::string_view text);

// What is wrong with a node, if anything.
std::optional<std::string> node_problem(const NodeId& node);

// Who a rank of which only the number is known is taken for, in lists and messages.
NodeId stand_in(uint32_t rank);

// For messages: "host7 (pid 4211)"; a stand-in, which is no process: "rank 3".
std::string to_text(const NodeId& node);

}  // namespace rdzv
