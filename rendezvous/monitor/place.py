"""The runs of one name space, for `examine`: what the server that this process has knows of them.

Reads only, and asks the server in memory. Called by any thread; one object a look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rendezvous._base.deadline import Deadline
from rendezvous._coordination.run_view import Counts, RunView, key_of
from rendezvous.backends.look import similar_runs
from rendezvous.handler.examine import NodeKey, Past, events_of, expected_key, past_of

if TYPE_CHECKING:
    from rendezvous._coordination.by_server.timeline import RunEvent
    from rendezvous.monitor.asker import Asker

__all__ = ["ServerRun"]

# The last ones of a run's.
EVENTS_MAX = 2_000


class ServerRun:
    """One run, as a Place of examine.py.

    Args:
        runs: the names of all runs in the name space.
    """

    def __init__(self, asker: Asker, endpoint: str, space: str, runs: Sequence[str]) -> None:
        self._asker = asker
        self.endpoint = endpoint
        self._space = space
        self._runs = runs
        self.events: list[RunEvent] = []
        self.serial = 0

    def look_at_run(self, run_id: str, deadline: Deadline, limit: int | None) -> RunView | None:
        """The whole of it, and its last events; `limit` plays no part."""
        found = self._asker.ask(
            lambda server: server._report_of_run(self._space, run_id, EVENTS_MAX)
        )
        if found is None:
            return None
        self.events = events_of(found["events"], found["monotonic_s"])
        self.serial = found["serial"]
        return _view(found)

    def similar_runs(self, run_id: str, deadline: Deadline) -> list[str]:
        return similar_runs(run_id, self._runs)

    def expected(self, run_id: str, deadline: Deadline) -> str:
        found = self._asker.ask(lambda server: server._value(self._space, expected_key(run_id)))
        return "" if found is None else found.decode(errors="replace")

    def excluded(self, run_id: str, deadline: Deadline) -> list[str]:
        # To list keys may cost the server's thread as much as it has keys.
        return []

    def history(self, run_id: str, deadline: Deadline) -> Mapping[NodeKey, Past]:
        return past_of(self.events)

    def host_states(self, addresses: Sequence[str], deadline: Deadline) -> dict[str, str]:
        asked = list(addresses)
        states = self._asker.ask(lambda server: server._host_states(self._space, asked))
        return dict(zip(asked, states, strict=True))


def _view(found: dict[str, Any]) -> RunView:
    nodes = found["nodes"]
    participants = nodes["participants"]
    if found["complete"]:
        participants = sorted(participants, key=lambda each: each[0])
    return RunView(
        "server",
        found["round"],
        complete=found["complete"],
        closed=found["closed"],
        failed=found["failed"],
        finished_round=found["finished_round"],
        world_size=found["world_size"],
        settings=found["settings"],
        participants=_nodes(participants),
        ranks=tuple(rank for rank, _, _ in participants),
        waiting=_nodes(nodes["waiting"]),
        spares=_nodes(nodes["spares"]),
        lost=_nodes(nodes["lost"]),
        counts=Counts(
            len(participants), len(nodes["waiting"]), len(nodes["spares"]), len(nodes["lost"])
        ),
        last_call_left_s=found["last_call_left_s"],
        suspects=found["suspects"],
        cause=found["cause"],
        close_reason=found["close_reason"],
        silence_s={
            key_of(node): silent_s
            for listed in nodes.values()
            for _, node, silent_s in listed
            if silent_s is not None
        },
    )


def _nodes(listed: Sequence[tuple[int, Any, float | None]]) -> tuple[Any, ...]:
    return tuple(node for _, node, _ in listed)
