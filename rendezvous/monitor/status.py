"""What /status.json and /events tell: the server, its runs, one run with its nodes. Nothing of what
is stored but names of nodes that were written down as expected.

Questions go through an Asker, and answers are shared. Called by any thread.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeAlias

from rendezvous import _core
from rendezvous._base.deadline import Deadline
from rendezvous._base.host_names import fold_hosts
from rendezvous._coordination.by_server.timeline import events_of
from rendezvous.handler.as_json import event_as_json, report_as_json
from rendezvous.handler.examine import examine
from rendezvous.monitor.asker import Asker, Shared
from rendezvous.monitor.place import ServerRun

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rendezvous.monitor.access import Scope

__all__ = ["Report", "Status", "run_key", "summaries_of", "totals_of"]

Report: TypeAlias = dict[str, Any]

# One report serves all who look within this time, and of a run likewise; whatever is slow to make
# is kept longer, so that it never takes more than a twentieth of the time.
_REPORT_S = 0.1
_RUN_S = 0.5
_TIMES_ITS_COST = 20.0
# For names of expected nodes to have their addresses, among others.
_EXAMINE_S = 3.0
_RUNS_MAX = 1_000
_EVENTS_SHOWN = 500
_WARNINGS_SHOWN = 100
_EVENTS_LOOKED_AT = 2_000
_SUMMARY = (
    "space", "run_id", "round", "complete", "closed", "failed", "finished_round", "min_nodes",
    "max_nodes", "participants", "waiting", "spares", "lost",
)  # fmt: skip


def run_key(run: Report) -> tuple[str, str]:
    """Name space and run id."""
    return run["space"], run["run_id"]


def is_seen(space: str, scope: Scope) -> bool:
    """Whether who has this scope may know of the name space."""
    return scope is None or space == scope


def summaries_of(report: Report, scope: Scope) -> list[dict[str, Any]]:
    """Of each run a line's worth."""
    return [
        {name: run[name] for name in _SUMMARY}
        for run in report["runs"]
        if is_seen(run["space"], scope)
    ]


def totals_of(report: Report, scope: Scope) -> dict[str, Any]:
    """Of the server, or of the one name space that may be seen."""
    if scope is not None:
        space = report["spaces"].get(scope) or {}
        names = ("keys", "stored_bytes", "connections", "waits")
        return {name: space.get(name, 0) for name in names}
    counters = report["counters"]
    spaces = report["spaces"].values()
    return {
        "connections": report["connections"],
        "keys": sum(space["keys"] for space in spaces),
        "waits": sum(space["waits"] for space in spaces),
        "used_bytes": report["used_bytes"],
        "received_bytes": counters["received_bytes"],
        "sent_bytes": counters["sent_bytes"],
        "requests": sum(
            kind["count"] for name in ("native", "c10d") for kind in counters[name].values()
        ),
        "refusals": counters["refusals"],
    }


class Status:
    """Of one server.

    Args:
        endpoint: of the store, as others name it.
    """

    def __init__(self, asker: Asker, endpoint: str) -> None:
        self._asker = asker
        self._endpoint = endpoint
        self._shared = Shared()
        self.began_s = time.time()

    def report(self) -> Report:
        """The server's, without events, not older than a tenth of a second. UnansweredError."""

        def make() -> Report:
            return self._asker.ask(lambda server: server.report(None))

        return self._shared.get("report", make, _REPORT_S, _TIMES_ITS_COST)

    def overview(self, scope: Scope) -> dict[str, Any]:
        """The server and its runs. Raises UnansweredError."""
        report = self.report()
        runs = summaries_of(report, scope)
        made: dict[str, Any] = {
            "version": _core.__version__,
            "endpoint": self._endpoint,
            "time": time.time(),
            "server": totals_of(report, scope),
            "spaces": {
                name: numbers for name, numbers in report["spaces"].items() if is_seen(name, scope)
            },
            "runs": runs[:_RUNS_MAX],
            "runs_left_out": max(0, len(runs) - _RUNS_MAX),
        }
        if scope is None:
            made["memory"] = report["memory"]
            made["warnings"] = self._warnings()
        return made

    def _warnings(self) -> list[dict[str, Any]]:
        def make() -> list[dict[str, Any]]:
            # Those among the last events: to copy all that has happened may be much.
            known = max(0, self.report()["serial"] - _EVENTS_LOOKED_AT)
            report = self._asker.ask(lambda server: server.report(known))
            return _events(report["warnings"][-_WARNINGS_SHOWN:], report["monotonic_s"])

        return self._shared.get("warnings", make, 2.0, _TIMES_ITS_COST)

    def run(self, space: str, run_id: str) -> dict[str, Any] | None:
        """As `rendezvous status --json`, with the last events. None: there is no such run.

        Raises UnansweredError.
        """
        # Names that are made up cost the server nothing.
        if (space, run_id) not in map(run_key, self.report()["runs"]):
            return None
        return self._shared.get(
            ("run", space, run_id), lambda: self._run(space, run_id), _RUN_S, _TIMES_ITS_COST
        )

    def _run(self, space: str, run_id: str) -> dict[str, Any] | None:
        names = [run["run_id"] for run in self.report()["runs"] if run["space"] == space]
        place = ServerRun(self._asker, self._endpoint, space, names)
        found = examine(place, run_id, None, Deadline.after(_EXAMINE_S))
        if found is None:
            return None
        events = [event_as_json(event) for event in place.events[-_EVENTS_SHOWN:]]
        made = {"space": space} | report_as_json(found) | {"events": events}
        made["missing"]["groups"] = [
            {
                "how": group.how,
                "sure": group.is_sure,
                "count": len(group.names),
                "names": fold_hosts(group.names),
            }
            for group in found.missing.groups
        ]
        return made


def _events(told: Iterable[Any], now_s: float) -> list[dict[str, Any]]:
    return [event_as_json(event) for event in events_of(told, now_s)]
