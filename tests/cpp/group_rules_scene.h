// The rules of a group that need no time, for tests.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "group/codec.h"
#include "group/group.h"
#include "group/limits.h"

namespace rdzv::test {

// A tiny vocabulary: nodes are letters, time stands still at 0, settings are min and max.
struct RulesPlay {
  Group group;
  GroupSettings settings;
  std::map<char, NodeFacts> facts;

  RulesPlay(uint32_t min, uint32_t max) : settings{min, max, 30'000, 5'000, 3} {}

  static NodeId node(char name) { return NodeId::make(std::string("host-") + name, 1, 0); }

  RulesPlay& join(const std::string& names, uint64_t after_round = 0) {
    for (char name : names) group.join(node(name), settings, after_round, {}, facts[name]);
    return *this;
  }
  RulesPlay& leave(const std::string& names) {
    for (char name : names) group.leave(node(name), false, {});
    return *this;
  }
  RulesPlay& fail(const std::string& names) {
    for (char name : names) group.leave(node(name), true, {});
    return *this;
  }
  RulesPlay& last_call_over() {
    group.expire(rdzv::Instant(std::chrono::seconds(30)));
    return *this;
  }
  // Their connections broke, and they did not come back.
  RulesPlay& lose(const std::string& names) {
    for (char name : names) group.drop(node(name), {});
    return *this;
  }
  // Those that are active ask for the next round, in this order.
  RulesPlay& again(const std::string& names) { return join(names, round()); }
  ErrorCode join_error(char name, const GroupSettings& with, uint64_t after_round = 0) {
    const std::string before = group.encode();
    try {
      group.join(node(name), with, after_round, {}, facts[name]);
    } catch (const rdzv::Error& error) {
      message = error.message();
      CHECK(group.encode() == before);
      return error.code();
    }
    return ErrorCode::kOk;
  }
  uint64_t changes(char name, uint64_t round) const {
    return group.membership_changes(node(name), round);
  }
  int64_t rank(char name) const { return group.placement(node(name)).rank; }
  std::optional<Role> role(char name) const { return group.placement(node(name)).role; }
  uint64_t round() const { return group.state().round; }
  bool complete() const { return group.state().complete; }
  bool last_call() const { return group.state().last_call != 0; }

  static std::string letters(const std::vector<NodeId>& nodes) {
    std::string text;
    for (const NodeId& node : nodes) text += node.addr.back();
    return text;
  }
  std::string in() const { return letters(group.participants()); }
  std::string waiting() const { return letters(group.waiting()); }
  std::string spares() const { return letters(group.spares()); }
  std::string lost() const { return letters(group.lost()); }

  std::string message;
};

}  // namespace rdzv::test
