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

// Both are digits only. No number type: a run may be as long as an address.
std::strong_ordering compare_numbers(std::string_view a, std::string_view b) {
  a.remove_prefix(std::min(a.find_first_not_of('0'), a.size()));
  b.remove_prefix(std::min(b.find_first_not_of('0'), b.size()));
  if (a.size() != b.size()) return a.size() <=> b.size();
  return a.compare(b) <=> 0;
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

// Addresses end up in logs and on terminals, hence no control characters.
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

}  // namespace

std::strong_ordering compare_natural(std::string_view a, std::string_view b) {
  // Names of one cluster begin alike. Where they first differ decides, with the digits before it.
  const auto first = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  auto i = static_cast<size_t>(first - a.begin());
  while (i > 0 && is_digit(a[i - 1])) --i;
  size_t j = i;
  while (i < a.size() && j < b.size()) {
    if (is_digit(a[i]) && is_digit(b[j])) {
      const size_t a_end = digits_end(a, i);
      const size_t b_end = digits_end(b, j);
      const auto order = compare_numbers(a.substr(i, a_end - i), b.substr(j, b_end - j));
      if (order != 0) return order;
      i = a_end;
      j = b_end;
      continue;
    }
    if (a[i] != b[j]) return static_cast<unsigned char>(a[i]) <=> static_cast<unsigned char>(b[j]);
    ++i;
    ++j;
  }
  return (a.size() - i) <=> (b.size() - j);
}

std::strong_ordering NodeId::operator<=>(const NodeId& other) const {
  const int bytewise = addr.compare(other.addr);
  if (bytewise != 0) {
    const auto natural = compare_natural(addr, other.addr);
    return natural != 0 ? natural : bytewise <=> 0;
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
  if (!is_printable_utf8(node.addr)) return "addr is not UTF-8 without control characters";
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

std::string to_text(const NodeId& node) {
  return node.addr + ":" + std::to_string(node.pid) + "/" + std::to_string(node.local_id);
}

}  // namespace rdzv
