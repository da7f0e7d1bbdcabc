#include "group/node.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/error.h"
#include "group/limits.h"

namespace rdzv {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

size_t digits_end(std::string_view text, size_t from) {
  while (from < text.size() && is_digit(text[from])) ++from;
  return from;
}

size_t zeros_end(std::string_view text, size_t from, size_t end) {
  while (from < end && text[from] == '0') ++from;
  return from;
}

// Where they first differ; the shorter one's end where it begins the other.
size_t first_difference(std::string_view a, std::string_view b) {
  const size_t end = std::min(a.size(), b.size());
  size_t at = 0;
  while (at < end && a[at] == b[at]) ++at;
  return at;
}

std::strong_ordering compare_bytes(std::string_view a, std::string_view b, size_t at) {
  if (at == a.size() || at == b.size()) return a.size() <=> b.size();
  return static_cast<unsigned char>(a[at]) <=> static_cast<unsigned char>(b[at]);
}

// In natural order, given where they first differ: that decides, with the digits before it.
std::strong_ordering compare_natural(std::string_view a, std::string_view b, size_t difference) {
  size_t i = difference;
  while (i > 0 && is_digit(a[i - 1])) --i;
  size_t j = i;
  while (i < a.size() && j < b.size()) {
    if (!is_digit(a[i]) || !is_digit(b[j])) {
      if (a[i] != b[j]) break;
      ++i;
      ++j;
      continue;
    }
    // No number type: a run of digits may be as long as an address.
    const size_t a_end = digits_end(a, i);
    const size_t b_end = digits_end(b, j);
    i = zeros_end(a, i, a_end);
    j = zeros_end(b, j, b_end);
    if (a_end - i != b_end - j) return a_end - i <=> b_end - j;
    for (; i < a_end; ++i, ++j) {
      if (a[i] != b[j]) return a[i] <=> b[j];
    }
  }
  if (i == a.size() || j == b.size()) return (a.size() - i) <=> (b.size() - j);
  return static_cast<unsigned char>(a[i]) <=> static_cast<unsigned char>(b[j]);
}

// The bytes of the code point that starts at `from`; 0 if they are no UTF-8. Overlong forms and
// surrogates are none, as in Python, where the address has to become a str again.
size_t code_point_bytes(std::string_view text, size_t from) {
  auto at = [&](size_t i) { return static_cast<unsigned char>(text[from + i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  const size_t bytes = first < 0xC2   ? 0
                       : first < 0xE0 ? 2
                       : first < 0xF0 ? 3
                       : first < 0xF5 ? 4
                                      : 0;
  if (bytes == 0 || text.size() - from < bytes) return 0;
  for (size_t i = 1; i < bytes; ++i) {
    if ((at(i) & 0xC0) != 0x80) return 0;
  }
  if (first == 0xE0 && at(1) < 0xA0) return 0;
  if (first == 0xED && at(1) > 0x9F) return 0;
  if (first == 0xF0 && at(1) < 0x90) return 0;
  if (first == 0xF4 && at(1) > 0x8F) return 0;
  return bytes;
}

}  // namespace

std::strong_ordering compare_natural(std::string_view a, std::string_view b) {
  return compare_natural(a, b, first_difference(a, b));
}

// A round of many nodes spends its time here: names are read once, and no function is called.
std::strong_ordering NodeId::operator<=>(const NodeId& other) const {
  const size_t difference = first_difference(addr, other.addr);
  if (difference < addr.size() || difference < other.addr.size()) {
    const auto natural = compare_natural(addr, other.addr, difference);
    return natural != 0 ? natural : compare_bytes(addr, other.addr, difference);
  }
  if (pid != other.pid) return pid <=> other.pid;
  return local_id <=> other.local_id;
}

size_t NodeHash::operator()(const NodeId& node) const {
  siphash::State state({hash_bytes(seed, node.addr), seed.high});
  state.absorb<1>(static_cast<uint64_t>(node.pid));
  state.absorb<1>(node.local_id);
  return state.finish<3>();
}

std::optional<std::string> node_problem(const NodeId& node) {
  if (node.addr.empty()) return "addr is empty; give a host name or an IP address";
  if (node.addr.size() > kNodeAddrBytesMax) {
    return "addr has " + std::to_string(node.addr.size()) + " bytes; at most " +
           std::to_string(kNodeAddrBytesMax) + " are allowed";
  }
  if (!is_printable_utf8(node.addr)) return "addr must be UTF-8 without control characters";
  if (node.pid < 0) return "pid is " + std::to_string(node.pid) + "; it must not be negative";
  return std::nullopt;
}

NodeId NodeId::make(std::string addr, int64_t pid, uint64_t local_id) {
  NodeId node{std::move(addr), pid, local_id};
  if (const auto problem = node_problem(node)) {
    throw Error(ErrorCode::kInvalidArgument, "node: " + *problem);
  }
  return node;
}

NodeId stand_in(uint32_t rank) {
  return NodeId{"rank " + std::to_string(rank), 0, rank};
}

bool is_printable_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7F) return false;
    const size_t bytes = code_point_bytes(text, i);
    if (bytes == 0) return false;
    i += bytes;
  }
  return true;
}

std::string to_text(const NodeId& node) {
  return node.pid == 0 ? node.addr : node.addr + " (pid " + std::to_string(node.pid) + ")";
}

}  // namespace rdzv
