// Nodes and settings: the natural order that decides ranks, and what is well-formed.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "group/limits.h"
#include "group/node.h"
#include "group/settings.h"

namespace {

using rdzv::compare_natural;
using rdzv::NodeHash;
using rdzv::NodeId;

NodeId at(const std::string& addr, int64_t pid = 1, uint64_t local_id = 0) {
  return NodeId::make(addr, pid, local_id);
}

bool refused(const std::string& addr, int64_t pid = 1) {
  try {
    NodeId::make(addr, pid, 0);
  } catch (const rdzv::Error& error) {
    return error.code() == rdzv::ErrorCode::kInvalidArgument;
  }
  return false;
}

}  // namespace

TEST_CASE("digits in addresses compare as numbers") {
  CHECK(at("host2") < at("host10"));
  CHECK(at("10.0.0.9") < at("10.0.0.10"));
  CHECK(at("10.0.0.10") < at("10.0.1.2"));
  CHECK(at("rack2-host10") < at("rack10-host2"));
  CHECK(at("host9") < at("host10a"));
  CHECK(at("host99999999999999999999998") < at("host99999999999999999999999"));
  CHECK(at("host99999999999999999999999") < at("host100000000000000000000000"));
}

TEST_CASE("a prefix comes first, and text compares bytewise") {
  CHECK(at("host") < at("host1"));
  CHECK(at("host1") < at("host1a"));
  CHECK(at("Host1") < at("host1"));
  CHECK(at("a") < at("\xC3\xA4"));
}

TEST_CASE("leading zeros are a tie that the bytes break") {
  CHECK(compare_natural("host01", "host1") == 0);
  CHECK(compare_natural("host0", "host000") == 0);
  CHECK(at("host01") != at("host1"));
  CHECK(at("host01") < at("host1"));
  CHECK_FALSE(at("host1") < at("host01"));
  CHECK(at("host01", 9) < at("host1", 1));
  CHECK(at("host1") < at("host02"));
}

TEST_CASE("pid and local id decide between joiners of one host, as numbers") {
  CHECK(at("h", 9) < at("h", 10));
  CHECK(at("h", 1, 9) < at("h", 1, 10));
  CHECK(at("h", 1, UINT64_MAX) < at("h", 2, 0));
  CHECK(at("h", 1, 1) == at("h", 1, 1));
  CHECK(NodeHash()(at("h", 1, 1)) == NodeHash()(at("h", 1, 1)));
  CHECK(NodeHash()(at("h", 1, 2)) != NodeHash()(at("h", 2, 1)));
}

TEST_CASE("the order is total and transitive") {
  const std::vector<std::string> parts = {"", "0", "00", "1", "01", "9", "10", "a", "-", "b2"};
  std::vector<NodeId> nodes;
  for (const auto& a : parts) {
    for (const auto& b : parts) {
      for (const auto& c : parts) {
        if (!(a + b + c).empty()) nodes.push_back(at(a + b + c));
      }
    }
  }
  std::sort(nodes.begin(), nodes.end());
  size_t wrong = 0;
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (size_t j = i; j < nodes.size(); ++j) {
      if (nodes[j] < nodes[i]) ++wrong;
      if ((nodes[i] <=> nodes[j] == 0) != (nodes[i] == nodes[j])) ++wrong;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("a malformed node is refused") {
  CHECK(refused(""));
  CHECK(refused(std::string(256, 'a')));
  CHECK_FALSE(refused(std::string(255, 'a')));
  CHECK(refused("host", -1));
  CHECK_FALSE(refused("host", 0));
  CHECK(refused("ho\nst"));
  CHECK(refused(std::string("ho\0st", 5)));
  CHECK_FALSE(refused("b\xC3\xBCro"));
  CHECK(refused("b\xC3"));
  CHECK(refused("\xC0\xAF"));
  CHECK(refused("\xE0\x80\x80"));
  CHECK(refused("\xED\xA0\x80"));
  CHECK(refused("\xF0\x80\x80\x80"));
  CHECK(refused("\xF4\x90\x80\x80"));
  CHECK_FALSE(refused("\xF0\x9F\x98\x80"));
}

TEST_CASE("settings that make no sense are refused, and the message names the field") {
  rdzv::GroupSettings fine{2, 4, 30'000, 5'000, 3};
  CHECK_FALSE(settings_problem(fine));
  auto problem = [&](auto change) {
    rdzv::GroupSettings settings = fine;
    change(settings);
    return settings_problem(settings).value_or("");
  };
  CHECK(problem([](auto& s) { s.min_nodes = 0; }).find("min_nodes") == 0);
  CHECK(problem([](auto& s) { s.max_nodes = 1; }).find("max_nodes") == 0);
  CHECK(problem([](auto& s) { s.max_nodes = rdzv::kGroupNodesMax + 1; }).find("max_nodes") == 0);
  CHECK(problem([](auto& s) { s.last_call_ms = 0; }).find("last_call_timeout") == 0);
  CHECK(problem([](auto& s) { s.last_call_ms = UINT64_MAX; }).find("last_call_timeout") == 0);
  CHECK(problem([](auto& s) { s.keep_alive_interval_ms = 0; }).find("keep_alive_interval") == 0);
  CHECK(problem([](auto& s) { s.keep_alive_max_attempt = 0; }).find("keep_alive_max") == 0);
  CHECK(problem([](auto& s) { s.keep_alive_max_attempt = UINT32_MAX; }).find("keep_alive_max") ==
        0);
}

TEST_CASE("a keep-alive window of ages does not overflow") {
  const auto year_ms = uint64_t{365} * 24 * 3600 * 1000;
  CHECK(rdzv::GroupSettings{1, 1, 1, year_ms, 1'000'000}.keep_alive_window() == rdzv::kForever);
  CHECK(rdzv::GroupSettings{1, 1, 1, 5'000, 3}.keep_alive_window() == std::chrono::seconds(15));
}
