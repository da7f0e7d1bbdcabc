// RunClient and what it answers, for rendezvous/_coordination/by_server/run.py. Private to the package. Owns the
// conversion between the wire's plain structs and the rulebook's; knows no rule.
#include "client/run_client.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/gil.h"
#include "bindings/timeline.h"
#include "group/group.h"
#include "group/on_wire.h"

namespace py = pybind11;

namespace rdzv {
namespace {

RunClient::Node to_wire(const NodeId& node) {
  return {node.addr, static_cast<uint64_t>(node.pid), node.local_id};
}

int64_t rank_from_wire(uint32_t rank) {
  return rank == native::kNoRank ? int64_t{-1} : int64_t{rank};
}

std::optional<double> silence_from_wire(uint32_t silent_ms) {
  if (silent_ms == native::kNotHeard) return std::nullopt;
  return to_seconds(std::chrono::milliseconds(silent_ms));
}

NodeId from_wire(const RunClient::Node& node) {
  return NodeId::make(node.addr, static_cast<int64_t>(node.pid), node.local_id);
}

std::optional<NodeId> neighbour(const RunClient::Node& node) {
  if (node.addr.empty()) return std::nullopt;
  return from_wire(node);
}

const char* outcome_name(native::JoinOutcome outcome) {
  switch (outcome) {
    case native::JoinOutcome::kPlaced:
      return "placed";
    case native::JoinOutcome::kFinished:
      return "finished";
    case native::JoinOutcome::kDropped:
      break;
    case native::JoinOutcome::kSpare:
      return "spare";
    case native::JoinOutcome::kNoSpare:
      return "no spare";
  }
  return "dropped";
}

const char* role_name(native::RunRole role) {
  static constexpr const char* kNames[] = {"forming", "active", "done",
                                           "waiting", "spare",  "absent"};
  return kNames[static_cast<size_t>(role)];
}

const char* departure_name(native::Departure how) {
  static constexpr const char* kNames[] = {"left", "lost", "failed", "gave_up"};
  return kNames[static_cast<size_t>(how)];
}

py::tuple event_to_python(const RunEvent& event) {
  return rdzv::event_to_python(event.number, event.at, event.kind, event.round, event.nodes,
                               event.took, neighbour(event.node), event.text);
}

native::MemberList list_from(const std::string& which) {
  static constexpr std::pair<const char*, native::MemberList> kLists[] = {
      {"participants", native::MemberList::kParticipants},
      {"waiting", native::MemberList::kWaiting},
      {"spares", native::MemberList::kSpares},
      {"lost", native::MemberList::kLost},
  };
  for (const auto& [name, list] : kLists) {
    if (which == name) return list;
  }
  throw Error(ErrorCode::kInvalidArgument, "members: unknown list " + quoted(which));
}

void bind_join_answer(py::module_& m) {
  using Joined = RunClient::Joined;
  py::class_<Joined>(m, "RunJoined", py::is_final(), "The outcome of a join.")
      .def_property_readonly(
          "outcome",
          [](const Joined& j) { return j.timed_out ? "timeout" : outcome_name(j.outcome); },
          "'placed' in a complete round; 'finished': the job ended while the node waited for its "
          "next round; 'dropped': the node was considered dead, or left; 'timeout': it is no "
          "longer listed; 'spare' and 'no spare': it became, or is no longer, a spare, and joins "
          "again as such. Without a place, everything but the round is 0.")
      .def_readonly("round", &Joined::round,
                    "The round in which it is placed, or the last one of the job.")
      .def_readonly("rank", &Joined::rank, "Counted from 0.")
      .def_readonly("world_size", &Joined::world_size, "Nodes of the round.")
      .def_property_readonly(
          "first", [](const Joined& j) { return from_wire(j.first); },
          "The node with rank 0. Raises ValueError for a node without a place.")
      .def_property_readonly(
          "before", [](const Joined& j) { return neighbour(j.before); },
          "The node of the rank before, in a ring; None: it has left.")
      .def_property_readonly(
          "after", [](const Joined& j) { return neighbour(j.after); },
          "The node of the rank after, in a ring; None: it has left.")
      .def_readonly("waiting", &Joined::waiting, "Nodes on the wait list.")
      .def_readonly("spares", &Joined::spares, "Spare nodes.")
      .def_readonly("changes", &Joined::changes,
                    "Membership changes since the round was complete.");
}

void bind_news(py::module_& m) {
  using native::KeepAliveReply;
  using native::ResumeReply;
  using native::SubscribeReply;
  py::class_<KeepAliveReply>(m, "RunKeptAlive", py::is_final(), "The answer to a keep-alive.")
      .def_readonly("known", &KeepAliveReply::known,
                    "Whether the node of this connection is listed.")
      .def_readonly("changes", &KeepAliveReply::changes, "Membership changes.")
      .def_readonly("closed", &KeepAliveReply::closed, "Whether the run is closed.");
  py::class_<SubscribeReply>(m, "RunNews", py::is_final(), "The answer to a subscription.")
      .def_readonly("active", &SubscribeReply::active, "Whether the node takes part in that round.")
      .def_readonly("changes", &SubscribeReply::changes, "Membership changes.")
      .def_readonly("closed", &SubscribeReply::closed, "Whether the run is closed.");
  py::class_<ResumeReply>(m, "RunResumed", py::is_final(), "The outcome of a resume.")
      .def_readonly("taken", &ResumeReply::taken,
                    "Whether the node has its place back; otherwise it must join.")
      .def_readonly("changes", &ResumeReply::changes, "Membership changes.")
      .def_readonly("closed", &ResumeReply::closed, "Whether the run is closed.");
}

void bind_status(py::module_& m) {
  using StatusReply = RunClient::Status;
  py::class_<StatusReply>(m, "RunStatus", py::is_final(), "A run at one moment.")
      .def_readonly("known", &StatusReply::known, "Whether the server has such a run.")
      .def_readonly("round", &StatusReply::round, "The round that is forming or complete.")
      .def_readonly("complete", &StatusReply::complete, "Whether ranks are assigned.")
      .def_readonly("closed", &StatusReply::closed, "Whether it was closed for good.")
      .def_readonly("finished_round", &StatusReply::finished_round,
                    "The last round that every participant finished; 0: none.")
      .def_readonly("world_size", &StatusReply::world_size, "Nodes of the complete round.")
      .def_property_readonly(
          "settings",
          [](const StatusReply& s) -> std::optional<GroupSettings> {
            if (!s.has_settings) return std::nullopt;
            return settings_of(s.settings);
          },
          "The settings its nodes agreed on; None before the first node joins.")
      .def_readonly("participants", &StatusReply::participants, "Number of nodes.")
      .def_readonly("waiting", &StatusReply::waiting, "Number of nodes.")
      .def_readonly("spares", &StatusReply::spares, "Number of nodes.")
      .def_readonly("lost", &StatusReply::lost, "Number of nodes.")
      .def_property_readonly(
          "last_call_left",
          [](const StatusReply& s) -> std::optional<double> {
            if (s.last_call_left_ms == native::kNoLastCall) return std::nullopt;
            return s.last_call_left_ms / 1000.0;
          },
          "Seconds until the last call ends; None: no last call is running.")
      .def_property_readonly(
          "role", [](const StatusReply& s) { return role_name(s.role); }, "As Placement.role.")
      .def_property_readonly(
          "rank", [](const StatusReply& s) { return rank_from_wire(s.rank); },
          "-1 unless active or done.")
      .def_readonly("changes", &StatusReply::changes, "Membership changes.")
      .def_readonly("suspects", &StatusReply::suspects,
                    "Number of nodes whose connection is broken and that may still come back.")
      .def_readonly("gave_up", &StatusReply::gave_up,
                    "How many of the lost nodes gave up for good.")
      .def_readonly(
          "failed", &StatusReply::failed,
          "Whether it has failed for good: too few nodes are left because nodes gave up, or "
          "somebody said not to restart it.")
      .def_property_readonly(
          "cause", [](const StatusReply& s) { return message_to_python(s.cause); },
          "Which node gave up first, and why; empty: none did.")
      .def_property_readonly(
          "close_reason", [](const StatusReply& s) { return message_to_python(s.close_reason); },
          "Why it was closed; empty: it was not, or nobody said.")
      .def_property_readonly(
          "reached_at", [](const StatusReply& s) { return s.reached_at; },
          "The address by which a node on another machine reached the server; empty: none did.");
}

void bind_client(py::module_& m) {
  py::class_<RunClient, std::shared_ptr<RunClient>>(
      m, "RunClient", py::is_final(),
      R"(One node's access to a run that the store's server keeps, on its own connection.

Timeouts in seconds; calls return or raise within them: StoreTimeoutError, StoreConnectionError (StoreRestartedError, once,
when the server came back without what it had), RendezvousClosedError, RendezvousStateError, StoreUnsupportedError.)")
      .def(py::init([](const TCPStore& store, const std::string& run_id, const NodeId& node,
                       const GroupSettings& settings, TimeoutArg grace, const NodeFacts* facts) {
             const NodeFacts own = facts == nullptr ? NodeFacts() : *facts;
             return std::make_shared<RunClient>(store, run_id, to_wire(node),
                                                wire_settings(settings), grace.duration,
                                                RunFacts{own.rank, own.topology, own.attempt});
           }),
           py::arg("store"), py::arg("run_id"), py::arg("node"), py::arg("settings"),
           py::arg("grace"), py::arg("facts") = py::none(),
           "grace: how long the node counts as alive after its connection breaks.")
      .def(
          "join",
          [](RunClient& self, uint64_t after_round, TimeoutArg timeout, bool is_spare) {
            return without_gil([&] { return self.join(after_round, timeout.duration, is_spare); });
          },
          py::arg("after_round"), py::arg("timeout"), py::arg("is_spare") = false,
          "Wait for a complete round after `after_round` that includes this node. Send keep-alives "
          "meanwhile. is_spare: whether the node knows itself as a spare; the call ends when that "
          "changes, and a spare stays listed after a timeout.")
      .def(
          "leave",
          [](RunClient& self, bool failed, TimeoutArg timeout) {
            return without_gil([&] { return self.leave(failed, timeout.duration); });
          },
          py::arg("failed"), py::arg("timeout"),
          "Leave the run. Returns whether the node was listed.")
      .def(
          "give_up",
          [](RunClient& self, int32_t exit_code, uint64_t unix_ms, const py::bytes& last_line,
             TimeoutArg timeout, bool do_not_restart) {
            const RunClient::Ending ending{exit_code, unix_ms, std::string(last_line),
                                           do_not_restart};
            return message_to_python(
                without_gil([&] { return self.give_up(ending, timeout.duration); }));
          },
          py::arg("exit_code"), py::arg("unix_ms"), py::arg("last_line"), py::arg("timeout"),
          py::arg("do_not_restart") = false,
          "Leave for good. Returns which node gave up first, and why. do_not_restart: as of "
          "close_run.")
      .def(
          "keep_alive",
          [](RunClient& self, TimeoutArg timeout) {
            return without_gil([&] { return self.keep_alive(timeout.duration); });
          },
          py::arg("timeout"), "Call it once in every keep-alive interval.")
      .def(
          "close_run",
          [](RunClient& self, TimeoutArg timeout, const std::string& reason, bool do_not_restart) {
            without_gil([&] { self.close_run(reason, do_not_restart, timeout.duration); });
          },
          py::arg("timeout"), py::arg("reason") = "", py::arg("do_not_restart") = false,
          "Close the run for good; the reason is told to the nodes. do_not_restart: the run has "
          "failed for good.")
      .def(
          "status",
          [](RunClient& self, TimeoutArg timeout) {
            return without_gil([&] { return self.status(timeout.duration); });
          },
          py::arg("timeout"))
      .def(
          "subscribe",
          [](RunClient& self, uint64_t round, uint32_t known_changes, bool known_closed,
             TimeoutArg timeout) {
            return without_gil([&] {
              return self.subscribe(round, known_changes, known_closed, timeout.duration);
            });
          },
          py::arg("round"), py::arg("known_changes"), py::arg("known_closed"), py::arg("timeout"),
          "Wait until something differs from what is known. Returns the current state, also at the "
          "timeout.")
      .def(
          "follow",
          [](RunClient& self, uint64_t known_version, TimeoutArg timeout) {
            RunFollowed found =
                without_gil([&] { return self.follow(known_version, timeout.duration); });
            py::list gone;
            for (const RunGone& each : found.gone)
              gone.append(py::make_tuple(from_wire(each.node), departure_name(each.how)));
            return py::make_tuple(found.version, std::move(found.status), gone);
          },
          py::arg("known_version"), py::arg("timeout"),
          "Wait until the run's members differ from those of `known_version` (2**64 - 1: answers "
          "at once), or until the timeout. Returns the version, the status, and the nodes that "
          "went since, each with 'left', 'lost', 'failed' or 'gave up'.")
      .def(
          "members",
          [](RunClient& self, const std::string& which, TimeoutArg timeout,
             std::optional<size_t> limit) {
            const native::MemberList list = list_from(which);
            const auto members = without_gil(
                [&] { return self.members(list, limit.value_or(SIZE_MAX), timeout.duration); });
            py::list listed;
            for (const RunClient::Member& member : members)
              listed.append(py::make_tuple(rank_from_wire(member.rank), from_wire(member.node),
                                           silence_from_wire(member.silent_ms)));
            return listed;
          },
          py::arg("which"), py::arg("timeout"), py::arg("limit") = py::none(),
          "'participants', 'waiting', 'spares' or 'lost'; at most `limit` of them. Of each: its "
          "rank (-1: none, or the round forms), the node, and how many seconds ago the server "
          "heard it (None: it watches no heartbeats of the node).")
      .def(
          "hosts",
          [](RunClient& self, const std::vector<std::string>& addresses, TimeoutArg timeout) {
            return without_gil([&] { return self.hosts(addresses, timeout.duration); });
          },
          py::arg("addresses"), py::arg("timeout"),
          "Of each address, at most 1,000: whether a connection from there 'is' there, 'was', or "
          "'never' was.")
      .def(
          "timeline",
          [](RunClient& self, const std::string& run_id, uint64_t first, TimeoutArg timeout) {
            const RunTimeline found =
                without_gil([&] { return self.timeline(run_id, first, timeout.duration); });
            py::list events;
            for (const RunEvent& event : found.events) events.append(event_to_python(event));
            return py::make_tuple(found.known, to_seconds(found.now), found.next, events);
          },
          py::arg("run_id"), py::arg("first"), py::arg("timeout"),
          "What has happened to a run ('': the server's warnings), from the event with the number "
          "`first` on: whether the run is known, the server's monotonic time in seconds, the "
          "number "
          "of the next event, and of each event its number, time, kind, round, nodes in the round, "
          "duration in seconds, node (or None) and text.")
      .def(
          "resume",
          [](RunClient& self, uint64_t round, uint32_t rank, uint32_t world_size,
             TimeoutArg timeout) {
            return without_gil(
                [&] { return self.resume({round, rank, world_size}, timeout.duration); });
          },
          py::arg("round"), py::arg("rank"), py::arg("world_size"), py::arg("timeout"),
          "Take the node's place again, on a new connection or in a restarted server.")
      .def(
          "close", [](RunClient& self) { without_gil([&] { self.close(); }); },
          "End the connection and all waiting calls. Later calls raise StoreClosedError.");
}

}  // namespace

void bind_run_client(py::module_& module) {
  module.attr("RUN_MARKER") = std::string(native::kRunMarker);
  bind_join_answer(module);
  bind_news(module);
  bind_status(module);
  bind_client(module);
}

}  // namespace rdzv
