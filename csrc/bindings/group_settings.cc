// GroupSettings and NodeFacts for Python: what a node joins with. Owns what of Python's numbers fits.
#include <pybind11/operators.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/text.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "group/limits.h"
#include "group/on_wire.h"
#include "group/settings.h"

namespace py = pybind11;

namespace rdzv {
namespace {

uint64_t milliseconds(const char* name, double seconds) {
  const double limit = to_seconds(kForever);
  if (!(seconds > 0 && seconds <= limit)) {
    refuse(std::string(name) + " is " + std::to_string(seconds) +
           "; it must be a positive number of seconds");
  }
  return static_cast<uint64_t>(std::max(1LL, std::llround(seconds * 1000)));
}

RankBy rank_by_from(const std::string& name) {
  for (const RankBy each : {RankBy::kAddress, RankBy::kJoin, RankBy::kGiven, RankBy::kTopology})
    if (name == to_text(each)) return each;
  refuse("rank_by is " + quoted(name) + "; use 'address', 'join', 'given' or 'topology'");
}

GroupSettings make_settings(const py::int_& min_nodes, const py::int_& max_nodes,
                            double last_call_timeout, double keep_alive_interval,
                            const py::int_& keep_alive_max_attempt, const std::string& rank_by,
                            bool sticky_ranks, bool former_first, double debounce,
                            const py::int_& segment) {
  constexpr uint32_t kMax = std::numeric_limits<uint32_t>::max();
  GroupSettings settings;
  settings.min_nodes = whole_number<uint32_t>("min_nodes", min_nodes, 1, kMax);
  settings.max_nodes = whole_number<uint32_t>("max_nodes", max_nodes, 1, kMax);
  settings.last_call_ms = milliseconds("last_call_timeout", last_call_timeout);
  settings.keep_alive_interval_ms = milliseconds("keep_alive_interval", keep_alive_interval);
  settings.keep_alive_max_attempt =
      whole_number<uint32_t>("keep_alive_max_attempt", keep_alive_max_attempt, 1, kMax);
  settings.rank_by = rank_by_from(rank_by);
  settings.sticky_ranks = sticky_ranks;
  settings.former_first = former_first;
  if (debounce != 0) settings.debounce_ms = milliseconds("debounce", debounce);
  settings.segment = whole_number<uint32_t>("segment", segment, 1, kMax);
  if (const auto problem = settings_problem(settings)) refuse("settings: " + *problem);
  return settings;
}

// As messages have it, for asyncio's client.
template <typename Record>
py::bytes wire_bytes(const Record& record) {
  std::string bytes;
  native::put(bytes, record);
  return py::bytes(bytes);
}

void bind_settings(py::module_& m) {
  py::class_<GroupSettings>(m, "GroupSettings", py::is_final(),
                            "What all nodes of a group must agree on; the first node that joins an "
                            "empty group decides. Times in seconds.")
      .def(py::init(&make_settings), py::arg("min_nodes"), py::arg("max_nodes"),
           py::arg("last_call_timeout") = 30.0, py::arg("keep_alive_interval") = 5.0,
           py::arg("keep_alive_max_attempt") = 3, py::kw_only(), py::arg("rank_by") = "address",
           py::arg("sticky_ranks") = true, py::arg("former_first") = true,
           py::arg("debounce") = 0.0, py::arg("segment") = 1,
           "Times are rounded to milliseconds, and are at least 1 ms.\n\n"
           "Raises ValueError when min_nodes < 1, max_nodes < min_nodes, max_nodes > 131,072, or a "
           "time, keep_alive_max_attempt or segment is not positive, when rank_by is not "
           "'address', 'join', 'given' or 'topology', and when min_nodes or max_nodes is not a "
           "multiple of segment.")
      .def_readonly("min_nodes", &GroupSettings::min_nodes,
                    "The last call starts with this many nodes.")
      .def_readonly("max_nodes", &GroupSettings::max_nodes,
                    "The round is complete at once with this many nodes.")
      .def_property_readonly(
          "last_call_timeout", [](const GroupSettings& s) { return to_seconds(s.last_call()); },
          "Seconds to wait for more nodes once min_nodes have joined.")
      .def_property_readonly(
          "keep_alive_interval",
          [](const GroupSettings& s) { return to_seconds(s.keep_alive_interval()); },
          "Seconds between two heartbeats of a node.")
      .def_readonly("keep_alive_max_attempt", &GroupSettings::keep_alive_max_attempt,
                    "A node that is silent for this many intervals is dead.")
      .def_property_readonly(
          "rank_by", [](const GroupSettings& s) { return to_text(s.rank_by); },
          "How nodes get their ranks: 'address' (natural order), 'join' (order of joining), "
          "'given' (each brings its own), 'topology' (nodes with the same key are neighbours).")
      .def_readonly("sticky_ranks", &GroupSettings::sticky_ranks,
                    "Whether a node of the last round keeps its rank.")
      .def_readonly("former_first", &GroupSettings::former_first,
                    "Whether a node of the last round whose job broke has its place kept until the "
                    "last call is over.")
      .def_property_readonly(
          "debounce", [](const GroupSettings& s) { return to_seconds(s.debounce()); },
          "Seconds without a further new node until nodes on the wait list count as changes, at "
          "most 10 times that; 0: at once.")
      .def_readonly(
          "segment", &GroupSettings::segment,
          "The size of a round is a multiple of this; with rank_by='topology', of each key.")
      .def_property_readonly("_wire",
                             [](const GroupSettings& s) { return wire_bytes(wire_settings(s)); })
      .def(py::self == py::self)
      .def("__repr__", [](const GroupSettings& s) { return "GroupSettings(" + to_text(s) + ")"; });
}

NodeFacts make_facts(const std::optional<py::int_>& rank, const std::string& topology,
                     const py::int_& attempt) {
  NodeFacts facts;
  if (rank) facts.rank = whole_number<uint32_t>("rank", *rank, 0, kGroupNodesMax - 1);
  facts.topology = topology;
  facts.attempt = whole_number<uint64_t>("attempt", attempt, 0, kAttemptMax);
  if (topology.size() > kTopologyBytesMax || !is_printable_utf8(topology)) {
    refuse("the topology key is " + quoted(topology, kTopologyBytesMax) + "; it must be up to " +
           std::to_string(kTopologyBytesMax) + " bytes of UTF-8 without control characters");
  }
  return facts;
}

void bind_facts(py::module_& m) {
  py::class_<NodeFacts>(m, "NodeFacts", py::is_final(),
                        "The facts of a node that determine its rank.")
      .def(
          py::init(&make_facts), py::arg("rank") = py::none(), py::arg("topology") = "",
          py::arg("attempt") = 0,
          "rank: that it was given, for rank_by='given'. topology: where it is, parts with '/' "
          "between, for rank_by='topology'. attempt: which start of the job it belongs to; a later "
          "one displaces the nodes of an earlier one; 0: it does not say.\n\nRaises ValueError for "
          "values that are too large.")
      .def_property_readonly(
          "rank",
          [](const NodeFacts& f) -> std::optional<uint32_t> {
            if (f.rank == kNoRank) return std::nullopt;
            return f.rank;
          },
          "None: it was given none.")
      .def_property_readonly(
          "topology", [](const NodeFacts& f) { return message_to_python(f.topology); },
          "Empty: it does not say.")
      .def_readonly("attempt", &NodeFacts::attempt, "0: it does not say.")
      .def_property_readonly("_wire", [](const NodeFacts& f) { return wire_bytes(wire_facts(f)); })
      .def(py::self == py::self)
      .def("__repr__", [](const NodeFacts& f) {
        return "NodeFacts(rank=" + (f.rank == kNoRank ? "None" : std::to_string(f.rank)) +
               ", topology=" + std::string(py::repr(py::str(f.topology))) +
               ", attempt=" + std::to_string(f.attempt) + ")";
      });
}

}  // namespace

void bind_group_settings(py::module_& m) {
  bind_settings(m);
  bind_facts(m);
}

}  // namespace rdzv
