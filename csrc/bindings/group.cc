// Node, Placement and Group for Python; group_settings.cc has what a node joins with. Knows no rule.
// Nothing here waits, so the GIL is held throughout, and it is what makes a Group safe to share
// between threads.
#include "group/group.h"

#include <pybind11/operators.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cmath>
#include <limits>
#include <string>

#include "base/error.h"
#include "base/random.h"
#include "base/text.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "group/limits.h"
#include "group/on_wire.h"

namespace py = pybind11;

namespace rdzv {
namespace {

Instant to_instant(double now) {
  if (!(std::abs(now) < to_seconds(kForever))) {
    refuse("now is " + std::to_string(now) + "; it must be seconds of a monotonic clock");
  }
  return Instant(Duration(std::llround(now * 1e9)));
}

// Never earlier than the instant: who sleeps until then and asks again must not find that it is not
// due yet.
double from_instant(Instant instant) {
  double seconds = to_seconds(instant.time_since_epoch());
  while (to_instant(seconds) < instant) {
    seconds = std::nextafter(seconds, std::numeric_limits<double>::infinity());
  }
  return seconds;
}

const char* role_name(const Placement& placement) {
  if (!placement.role) return "absent";
  switch (*placement.role) {
    case Role::kForming:
      return "forming";
    case Role::kActive:
      return "active";
    case Role::kDone:
      return "done";
    case Role::kWaiting:
      return "waiting";
    case Role::kSpare:
      return "spare";
  }
  return "absent";
}

std::string node_repr(const NodeId& node) {
  return "Node(addr=" + std::string(py::repr(py::str(node.addr))) +
         ", pid=" + std::to_string(node.pid) + ", local_id=" + std::to_string(node.local_id) + ")";
}

void bind_node(py::module_& m) {
  py::class_<NodeId>(m, "Node", py::is_final(),
                     "A node that joins: address, process id, and a number that distinguishes "
                     "nodes of one process.")
      .def(py::init([](const std::string& addr, const py::int_& pid, const py::int_& local_id) {
             return NodeId::make(
                 addr, whole_number<int64_t>("pid", pid, 0, std::numeric_limits<int64_t>::max()),
                 whole_number<uint64_t>("local_id", local_id, 0,
                                        std::numeric_limits<uint64_t>::max()));
           }),
           py::arg("addr"), py::arg("pid"), py::arg("local_id"),
           "addr: host name or IP address, 1 to 255 bytes of UTF-8 without control characters. "
           "pid, local_id: not negative.\n\nRaises ValueError for anything else.")
      .def_readonly("addr", &NodeId::addr, "Host name or IP address.")
      .def_readonly("pid", &NodeId::pid, "Process id.")
      .def_readonly("local_id", &NodeId::local_id, "Distinguishes several nodes of one process.")
      .def(py::self == py::self)
      .def(
          "__lt__", [](const NodeId& a, const NodeId& b) { return a < b; }, py::is_operator(),
          "Natural order: digits in addr compare as numbers; then pid, then local_id.")
      .def("__hash__", [](const NodeId& node) { return NodeHash()(node); })
      .def("__repr__", &node_repr);
}

void bind_placement(py::module_& m) {
  py::class_<Placement>(m, "Placement", py::is_final(), "Where a node stands in a group.")
      .def_property_readonly(
          "role", &role_name,
          "'absent', 'forming' (participant of a round that is not complete), 'active' "
          "(participant of the complete round), 'done' (was participant of the complete round and "
          "has left it), 'waiting' (wait list) or 'spare'.")
      .def_readonly("rank", &Placement::rank, "-1 unless active or done.")
      .def("__repr__", [](const Placement& placement) {
        return std::string("Placement(role='") + role_name(placement) +
               "', rank=" + std::to_string(placement.rank) + ")";
      });
}

void observe(Group& group, const std::optional<py::bytes>& state, double now) {
  if (state) {
    group.observe(std::string_view(*state), to_instant(now));
  } else {
    group.observe(std::nullopt, to_instant(now));
  }
}

void bind_operations(py::class_<Group>& group) {
  group
      .def("observe", &observe, py::arg("state").none(true), py::arg("now"),
           "Replace the state by encoded bytes read from a store (None: no state yet). "
           "Observations of heartbeats and of the last call are kept for whatever did not "
           "change.\n\nRaises RendezvousStateError for bytes that are not a state; the group then "
           "keeps its old state.")
      .def(
          "encode", [](const Group& g) { return py::bytes(g.encode()); },
          "The state as bytes. Equal states have equal bytes.")
      .def(
          "join",
          [](Group& g, const NodeId& node, const GroupSettings& settings,
             const py::int_& after_round, double now, const NodeFacts* facts) {
            const auto after = whole_number<uint64_t>("after_round", after_round, 0,
                                                      std::numeric_limits<uint64_t>::max());
            g.join(node, settings, after, to_instant(now), facts == nullptr ? NodeFacts() : *facts);
          },
          py::arg("node"), py::arg("settings"), py::arg("after_round"), py::arg("now"),
          py::arg("facts") = py::none(),
          "Idempotent. `after_round`: the last round this node took part in (0: none); it joins a "
          "later one. A participant of the complete round R that joins with after_round == R "
          "moves to the wait list.\n\n"
          "Raises RendezvousStateError when the group was formed with other settings, "
          "RendezvousClosedError when it is closed, RendezvousFailedError for a node of the last "
          "round when too few nodes are left, ValueError for an impossible round, or for missing "
          "facts.")
      .def(
          "keep_alive",
          [](Group& g, const NodeId& node, double now) { g.keep_alive(node, to_instant(now)); },
          py::arg("node"), py::arg("now"),
          "Record that the node is alive. Does nothing for a node that is done or absent.")
      .def(
          "leave",
          [](Group& g, const NodeId& node, bool failed, double now) {
            g.leave(node, failed, to_instant(now));
          },
          py::arg("node"), py::arg("failed"), py::arg("now"),
          "Remove the node. failed=True: its job broke; the others are told as for a lost node. "
          "Does nothing for an absent node.")
      .def(
          "drop", [](Group& g, const NodeId& node, double now) { g.drop(node, to_instant(now)); },
          py::arg("node"), py::arg("now"),
          "The node is known to be dead: it is lost, as one that sends no heartbeats. Does nothing "
          "for one that is done or absent.")
      .def(
          "give_up",
          [](Group& g, const NodeId& node, int32_t exit_code, uint64_t unix_ms,
             const py::bytes& last_line, double now, bool do_not_restart) {
            g.give_up(node, {exit_code, unix_ms, std::string(last_line)}, to_instant(now),
                      do_not_restart);
          },
          py::arg("node"), py::arg("exit_code"), py::arg("unix_ms"), py::arg("last_line"),
          py::arg("now"), py::arg("do_not_restart") = false,
          "Remove the node for good: its job broke and will not be restarted. The first node to "
          "give up is the `cause`. `do_not_restart`: as of `close`.")
      .def(
          "close", &Group::close, py::arg("reason") = "", py::arg("unix_ms") = 0,
          py::arg("do_not_restart") = false,
          "No more nodes may join, and no further round completes. Nodes without a rank are "
          "dismissed; the participants of a complete round finish it. `reason`: for the nodes; the "
          "first one stays. `unix_ms`: when, by the caller's wall clock. `do_not_restart`: the run "
          "has "
          "failed for good; also of one that is closed already.")
      .def(
          "forget_close",
          [](Group& g, uint64_t unix_ms, double ago) {
            return g.forget_close(unix_ms, from_seconds(ago));
          },
          py::arg("unix_ms"), py::arg("ago"),
          "Open it again if it was closed more than `ago` seconds ago and has no nodes; returns "
          "whether it was opened.")
      .def(
          "expire", [](Group& g, double now) { g.expire(to_instant(now)); }, py::arg("now"),
          "Remove dead nodes, end the last call, complete and start rounds. Call it before any "
          "decision.")
      .def(
          "next_deadline",
          [](const Group& g) -> std::optional<double> {
            const auto next = g.next_deadline();
            if (!next) return std::nullopt;
            return from_instant(*next);
          },
          "When to call expire() again if nothing else happens, in seconds of the caller's clock; "
          "None if time alone changes nothing. At most one keep_alive_interval after the last "
          "operation while nodes are watched, because a longer gap counts as only one missed "
          "interval.");
}

void bind_questions(py::class_<Group>& group) {
  group.def("placement", &Group::placement, py::arg("node"), "Where a node stands.")
      .def("membership_changes", &Group::membership_changes, py::arg("node"), py::arg("round"),
           "What `num_nodes_waiting` means for a node that took part in `round`: nodes on the wait "
           "list plus participants lost since the round completed; at least 1 if the node is no "
           "longer an active participant of that round.")
      .def(
          "last_call_left",
          [](const Group& g, double now) -> std::optional<double> {
            const auto left = g.last_call_left(to_instant(now));
            if (!left) return std::nullopt;
            return to_seconds(*left);
          },
          py::arg("now"), "Seconds until the last call ends; None: no last call is running.")
      .def_property_readonly(
          "changes", &Group::changes,
          "What `membership_changes` is for a node that takes part in the complete round.")
      .def_property_readonly(
          "newcomers_due",
          [](const Group& g) -> std::optional<double> {
            const auto due = g.newcomers_due();
            if (!due) return std::nullopt;
            return from_instant(*due);
          },
          "When nodes on the wait list are counted as changes, in seconds of the caller's clock; "
          "None: they are, or nobody waits.")
      .def_property_readonly(
          "round", [](const Group& g) { return g.state().round; },
          "The round that is forming or complete, counted from 1.")
      .def_property_readonly(
          "complete", [](const Group& g) { return g.state().complete; },
          "Whether ranks are assigned.")
      .def_property_readonly(
          "closed", [](const Group& g) { return g.state().closed; },
          "Whether it was closed for good.")
      .def_property_readonly(
          "close_reason", [](const Group& g) { return message_to_python(g.state().close_reason); },
          "Why it was closed; empty: it was not, or nobody said.")
      .def_property_readonly(
          "failed", &Group::has_failed,
          "Whether it has failed for good: too few nodes are left because nodes gave up, or "
          "somebody said not to restart it.")
      .def_property_readonly(
          "failure", [](const Group& g) { return message_to_python(g.failure()); },
          "Why it has failed; empty: it has not, or nobody said.")
      .def_property_readonly(
          "attempt", [](const Group& g) { return g.state().attempt; },
          "Of the job, the latest that a node brought; 0: none did.")
      .def_property_readonly(
          "finished_round", [](const Group& g) { return g.state().finished_round; },
          "The last round that every participant finished; 0: none.")
      .def_property_readonly(
          "failed_round", [](const Group& g) { return g.state().failed_round; },
          "The round after which too few nodes were left because nodes gave up; 0: none.")
      .def_property_readonly(
          "cause", [](const Group& g) { return message_to_python(g.cause_text()); },
          "Which node gave up first since the last round completed, and why; empty: none did.")
      .def_property_readonly("gave_up", &Group::gave_up,
                             "How many of the lost nodes gave up for good.")
      .def(
          "beats",
          [](const Group& g, const NodeId& node) -> std::optional<uint32_t> {
            const Member* member = g.state().roster.find(node);
            if (member == nullptr) return std::nullopt;
            return member->beats;
          },
          py::arg("node"), "Changes with each heartbeat of the node; None: it is not listed.")
      .def_property_readonly(
          "world_size", [](const Group& g) { return g.state().world_size; },
          "Nodes of the complete round, lost ones included; 0 while forming.")
      .def_property_readonly(
          "settings", [](const Group& g) { return g.state().settings; },
          "What the nodes agreed on; None until the first one joins.")
      .def(
          "node_at",
          [](const Group& g, uint32_t rank) -> std::optional<NodeId> {
            const NodeId* node = g.state().roster.at_rank(rank);
            if (node == nullptr) return std::nullopt;
            return *node;
          },
          py::arg("rank"), "The node of that rank in the complete round; None: it has left.")
      .def_property_readonly(
          "participants", &Group::participants,
          "The nodes of the forming round; the active nodes of the complete one, by rank.")
      .def_property_readonly("waiting", &Group::waiting, "The wait list, in natural order.")
      .def_property_readonly("spares", &Group::spares, "The spares, in order of joining.")
      .def_property_readonly(
          "lost", &Group::lost,
          "Participants lost since the last round completed, in natural order; at "
          "most 1,024 are remembered.");
}

}  // namespace

void bind_group(py::module_& m) {
  bind_node(m);
  bind_group_settings(m);
  bind_placement(m);
  py::class_<Group> group(m, "Group", py::is_final(),
                          "The rulebook of one run's rendezvous. Pure: `now` is seconds of the "
                          "caller's own monotonic clock.");
  group.def(py::init([] { return std::make_unique<Group>(random_seed()); }));
  bind_operations(group);
  bind_questions(group);
}

}  // namespace rdzv
