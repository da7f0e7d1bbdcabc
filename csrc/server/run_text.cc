#include "server/run_text.h"

#include "base/text.h"

namespace rdzv {
namespace {

constexpr size_t kNamesMax = 16;

void add_name(std::string& names, size_t& named, const NodeId& node) {
  names += (named++ > 0 ? ", " : "") + to_text(node);
}

std::string with_more(std::string names, size_t named, size_t all) {
  if (all == 0) return "no node";
  if (all > named) names += " and " + std::to_string(all - named) + " more";
  return names;
}

}  // namespace

std::string who_is_there(const GroupState& state, bool forming) {
  if (!forming) return "round " + std::to_string(state.round) + " did not end";
  return std::to_string(state.roster.count(Role::kForming)) + " of at least " +
         std::to_string(state.settings->min_nodes) + " (at most " +
         std::to_string(state.settings->max_nodes) + ") nodes joined";
}

std::string names_of_who_is_there(const GroupState& state, bool forming) {
  const Role role = forming ? Role::kForming : Role::kActive;
  const size_t all = state.roster.count(role);
  std::string names;
  size_t named = 0;
  for (const auto& [node, member] : state.roster.list(role)) {
    if (named == kNamesMax || named == all) break;
    if (member.role == role) add_name(names, named, node);
  }
  names = with_more(std::move(names), named, all);
  if (state.lost.empty()) return names;
  std::string lost;
  named = 0;
  for (const auto& [node, loss] : state.lost) {
    if (named == kNamesMax) break;
    add_name(lost, named, node);
  }
  return names + "; lost: " + with_more(std::move(lost), named, state.lost.size());
}

std::string join_timeout_text(Bytes run_id, Bytes who, Bytes names, bool forming,
                              Duration timeout) {
  std::string text = "run " + quoted(run_id) + ": ";
  text.append(who).append(" within ").append(seconds_text(timeout));
  text.append(forming ? ": " : "; it runs with ").append(names);
  return text +
         (forming ? "; start the missing nodes with the same run id and endpoint, wait longer, or "
                    "lower min_nodes"
                  : "; wait longer, or check why its nodes do not start the next round");
}

std::string closed_text(Bytes run_id, const NodeId& node, const Group& group) {
  return "run " + quoted(run_id) + ": join of node " + to_text(node) + ": " + group.closed_text();
}

std::string failed_text(Bytes run_id, const Group& group) {
  return "run " + quoted(run_id) + ": " + group.failed_text();
}

std::string mixed_text(Bytes operation) {
  return std::string(operation) +
         ": clients keep this run by compare-and-set; all nodes must keep it the same way: start "
         "all nodes with the same version and settings, or use another run id";
}

}  // namespace rdzv
