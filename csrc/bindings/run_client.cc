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
  throw Error(ErrorCode::kInvalidArgument, "members: there is no list " + quoted(which));
}

void bind_join_answer(py::module_& m) {
  using Joined = RunClient::Joined;
  py::class_<Joined>(m, "RunJoined", py::is_final(), "What came of a join.")
      .def_property_readonly(
          "outcome",
          [](const Joined& j) { return j.timed_out ? "timeout" : outcome_name(j.outcome); },
          "'placed' in a complete round; 'finished': the job whose next round the node waited for "
          "is over; 'dropped': it was taken for dead, or left; 'timeout': it is listed no more; "
          "'spare' and 'no spare': it is, or is no more, and joins again as such. "
          "Without a place all but the round is 0.")
      .def_readonly("round", &Joined::round, "In which it is placed; or which the job ended with.")
      .def_readonly("rank", &Joined::rank, "From 0.")
      .def_readonly("world_size", &Joined::world_size, "Of the round.")
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
      .def_readonly("changes", &Joined::changes, "Changes of membership since it was complete.");
}

void bind_news(py::module_& m) {
  using native::KeepAliveReply;
  using native::ResumeReply;
  using native::SubscribeReply;
  py::class_<KeepAliveReply>(m, "RunKeptAlive", py::is_final(), "A keep-alive's answer.")
      .def_readonly("known", &KeepAliveReply::known, "Whether this connection's node is listed.")
      .def_readonly("changes", &KeepAliveReply::changes, "Changes of membership.")
      .def_readonly("closed", &KeepAliveReply::closed, "Whether the run is closed.");
  py::class_<SubscribeReply>(m, "RunNews", py::is_final(), "A subscription's answer.")
      .def_readonly("active", &SubscribeReply::active, "Whether it takes part in that round.")
      .def_readonly("changes", &SubscribeReply::changes, "Changes of membership.")
      .def_readonly("closed", &SubscribeReply::closed, "Whether the run is closed.");
  py::class_<ResumeReply>(m, "RunResumed", py::is_final(), "What came of coming back.")
      .def_readonly("taken", &ResumeReply::taken, "Whether it has its place; else it must join.")
      .def_readonly("changes", &ResumeReply::changes, "Changes of membership.")
      .def_readonly("closed", &ResumeReply::closed, "Whether the run is closed.");
}

void bind_status(py::module_& m) {
  using StatusReply = RunClient::Status;
  py::class_<StatusReply>(m, "RunStatus", py::is_final(), "A run at one moment.")
      .def_readonly("known", &StatusReply::known, "Whether the server keeps such a run.")
      .def_readonly("round", &StatusReply::round, "Forming, or complete.")
      .def_readonly("complete", &StatusReply::complete, "Are ranks given?")
      .def_readonly("closed", &StatusReply::closed, "Was it closed for good?")
      .def_readonly("finished_round", &StatusReply::finished_round,
                    "The last round that every participant left as done; 0: none.")
      .def_readonly("world_size", &StatusReply::world_size, "Of the complete round.")
      .def_property_readonly(
          "settings",
          [](const StatusReply& s) -> std::optional<GroupSettings> {
            if (!s.has_settings) return std::nullopt;
            return settings_of(s.settings);
          },
          "What its nodes agree on; None before the first has joined.")
      .def_readonly("participants", &StatusReply::participants, "How many.")
      .def_readonly("waiting", &StatusReply::waiting, "How many.")
      .def_readonly("spares", &StatusReply::spares, "How many.")
      .def_readonly("lost", &StatusReply::lost, "How many.")
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
      .def_readonly("changes", &StatusReply::changes, "Changes of membership.")
      .def_readonly("suspects", &StatusReply::suspects,
                    "How many nodes' connections are broken, and may yet come back.")
      .def_readonly("gave_up", &StatusReply::gave_up, "How many of the lost gave up for good.")
      .def_readonly("failed", &StatusReply::failed,
                    "Whether too few nodes are left because nodes gave up.")
      .def_property_readonly(
          "cause", [](const StatusReply& s) { return message_to_python(s.cause); },
          "Which node gave up first, and why; empty: none did.")
      .def_property_readonly(
          "close_reason", [](const StatusReply& s) { return message_to_python(s.close_reason); },
          "Why it was closed; empty: it was not, or nobody said.")
      .def_property_readonly(
          "reached_at", [](const StatusReply& s) { return s.reached_at; },
          "Under which address a node on another machine reached the server; empty: none did.");
}

void bind_client(py::module_& m) {
  py::class_<RunClient, std::shared_ptr<RunClient>>(
      m, "RunClient", py::is_final(),
      R"(One node's line to a run that the store's server keeps, on a connection of its own.

Times in seconds; calls raise within theirs: StoreTimeoutError, StoreConnectionError (StoreRestartedError, once, when the
server came back without what it had), RendezvousClosedError, RendezvousStateError, StoreUnsupportedError.)")
      .def(py::init([](const TCPStore& store, const std::string& run_id, const NodeId& node,
                       const GroupSettings& settings, TimeoutArg grace, const NodeFacts* facts) {
             const NodeFacts own = facts == nullptr ? NodeFacts() : *facts;
             return std::make_shared<RunClient>(store, run_id, to_wire(node),
                                                wire_settings(settings), grace.duration,
                                                RunFacts{own.rank, own.topology, own.attempt});
           }),
           py::arg("store"), py::arg("run_id"), py::arg("node"), py::arg("settings"),
           py::arg("grace"), py::arg("facts") = py::none(),
           "grace: for how long the node counts as alive after its connection broke.")
      .def(
          "join",
          [](RunClient& self, uint64_t after_round, TimeoutArg timeout, bool is_spare) {
            return without_gil([&] { return self.join(after_round, timeout.duration, is_spare); });
          },
          py::arg("after_round"), py::arg("timeout"), py::arg("is_spare") = false,
          "Wait for a complete round later than `after_round` with this node. Keep-alives have to "
          "be sent meanwhile. is_spare: what the node knows of itself; the call ends when that "
          "changes, and the timeout of a spare leaves it listed.")
      .def(
          "leave",
          [](RunClient& self, bool failed, TimeoutArg timeout) {
            return without_gil([&] { return self.leave(failed, timeout.duration); });
          },
          py::arg("failed"), py::arg("timeout"), "Whether it was listed.")
      .def(
          "give_up",
          [](RunClient& self, int32_t exit_code, uint64_t unix_ms, const py::bytes& last_line,
             TimeoutArg timeout) {
            const RunClient::Ending ending{exit_code, unix_ms, std::string(last_line)};
            return message_to_python(
                without_gil([&] { return self.give_up(ending, timeout.duration); }));
          },
          py::arg("exit_code"), py::arg("unix_ms"), py::arg("last_line"), py::arg("timeout"),
          "Leave for good. Which node gave up first, and why.")
      .def(
          "keep_alive",
          [](RunClient& self, TimeoutArg timeout) {
            return without_gil([&] { return self.keep_alive(timeout.duration); });
          },
          py::arg("timeout"), "To be called once in every keep-alive interval.")
      .def(
          "close_run",
          [](RunClient& self, TimeoutArg timeout, const std::string& reason) {
            without_gil([&] { self.close_run(reason, timeout.duration); });
          },
          py::arg("timeout"), py::arg("reason") = "", "For ever; why, for the nodes.")
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
          "Wait until something differs from what is known; at the timeout, what is.")
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
          "Wait until who is in the run is not what is known by its version (2**64 - 1: answers at "
          "once); at the timeout, what is. The version, the status, and of nodes that went since: "
          "the node, and "
          "'left', 'lost', 'failed' or 'gave up'.")
      .def(
          "members",
          [](RunClient& self, const std::string& which, TimeoutArg timeout,
             std::optional<size_t> limit) {
            const native::MemberList list = list_from(which);
            const auto members = without_gil(
                [&] { return self.members(list, limit.value_or(SIZE_MAX), timeout.duration); });
            py::list nodes;
            for (const RunClient::Member& member : members) nodes.append(from_wire(member.node));
            return nodes;
          },
          py::arg("which"), py::arg("timeout"), py::arg("limit") = py::none(),
          "'participants', 'waiting', 'spares' or 'lost'; at most `limit` of them.")
      .def(
          "ranks",
          [](RunClient& self, TimeoutArg timeout, std::optional<size_t> limit) {
            const auto members = without_gil([&] {
              return self.members(native::MemberList::kParticipants, limit.value_or(SIZE_MAX),
                                  timeout.duration);
            });
            py::list ranked;
            for (const RunClient::Member& member : members)
              ranked.append(py::make_tuple(rank_from_wire(member.rank), from_wire(member.node)));
            return ranked;
          },
          py::arg("timeout"), py::arg("limit") = py::none(),
          "Rank and node of each participant, -1 while the round forms; at most `limit` of them.")
      .def(
          "hosts",
          [](RunClient& self, const std::vector<std::string>& addresses, TimeoutArg timeout) {
            return without_gil([&] { return self.hosts(addresses, timeout.duration); });
          },
          py::arg("addresses"), py::arg("timeout"),
          "Of each address, at most 1,000: whether a connection from there 'is' there, 'was', or "
          "'never' was.")
      .def(
          "resume",
          [](RunClient& self, uint64_t round, uint32_t rank, uint32_t world_size,
             TimeoutArg timeout) {
            return without_gil(
                [&] { return self.resume({round, rank, world_size}, timeout.duration); });
          },
          py::arg("round"), py::arg("rank"), py::arg("world_size"), py::arg("timeout"),
          "Take the node's place again, on this connection, or in a server that knows nothing.")
      .def(
          "close", [](RunClient& self) { without_gil([&] { self.close(); }); },
          "End the connection, and calls that wait. Later calls raise StoreClosedError.");
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
