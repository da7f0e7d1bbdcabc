// A tiny vocabulary for what only the one keeper of a group does.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "group/codec.h"
#include "group/group.h"
#include "group/limits.h"

namespace rdzv::test {

constexpr GroupSettings kSettings{2, 4, 30'000, 5'000, 3};

// Nodes are letters; each operation leaves a state that the decoder takes for possible.
struct ResumePlay {
  Group group;

  static NodeId node(char name) { return NodeId::make(std::string(1, name), 1, 0); }
  static Instant at(int seconds) { return Instant(std::chrono::seconds(seconds)); }

  void check_possible() const {
    GroupState state;
    const auto problem = rdzv::decode_state(group.encode(), state);
    CHECK_MESSAGE(!problem, problem->message());
  }
  ResumePlay& join(const std::string& names, uint64_t after_round = 0) {
    for (char name : names) group.join(node(name), kSettings, after_round, at(0));
    check_possible();
    return *this;
  }
  bool resume(char name, uint32_t rank, uint64_t round = 7, uint32_t world_size = 3,
              const GroupSettings& settings = kSettings) {
    const Resumed resumed = group.resume(node(name), settings, round, rank, world_size, at(0));
    check_possible();
    return resumed != Resumed::kRefused;
  }
  ErrorCode resume_error(char name, uint32_t rank, uint64_t round, uint32_t world_size,
                         const GroupSettings& settings = kSettings) {
    const std::string before = group.encode();
    try {
      resume(name, rank, round, world_size, settings);
    } catch (const rdzv::Error& error) {
      CHECK(group.encode() == before);
      return error.code();
    }
    return ErrorCode::kOk;
  }
  std::string shown(const std::vector<NodeId>& nodes) const {
    std::string text;
    for (const NodeId& each : nodes) text += (text.empty() ? "" : ", ") + each.addr;
    return text;
  }
  std::string in() const { return shown(group.participants()); }
  std::string lost() const { return shown(group.lost()); }
  uint64_t round() const { return group.state().round; }
};

}  // namespace rdzv::test
