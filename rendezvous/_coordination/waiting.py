"""What a node does and says while it waits for a round: how often it looks, what it logs.

Pure but for the clock, the log and sleeping: knows neither the rulebook nor the backend.
"""

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rendezvous import _core
from rendezvous._base.deadline import Deadline, now_s
from rendezvous._base.endpoint import parse_endpoint
from rendezvous._base.errors import (
    RendezvousConnectionError,
    RendezvousFailedError,
    RendezvousFinishedError,
    RendezvousStateError,
    RendezvousTimeoutError,
)
from rendezvous._base.hosts import is_loopback
from rendezvous._base.join_time import JoinTime
from rendezvous._coordination.coordinator import NodeSetup
from rendezvous._coordination.expected import Expected

__all__ = [
    "LOOK_S_MAX",
    "Pace",
    "Progress",
    "Standing",
    "evicted_text",
    "failed_error",
    "finished_error",
    "left_error",
    "node_text",
    "standing_text",
    "timeout_error",
]

_log = logging.getLogger(__name__)

# The longest pause between two looks of a node that waits.
LOOK_S_MAX = 2.0
_PROGRESS_S = 10.0
_SPARE_PROGRESS_S = 300.0
_NAMES_MAX = 16
_PARTS = {"waiting": "waits for the next round", "spare": "is a spare"}


@dataclass(frozen=True)
class Standing:
    """Where this node stands, and with whom. Of very many participants, a part is named."""

    role: str
    rank: int
    round: int
    world_size: int
    participants: tuple[_core.Node, ...]
    participants_count: int
    is_complete: bool
    waiting: int
    spares: int
    lost: tuple[_core.Node, ...]
    last_call_left_s: float | None
    look_again_s: float | None
    # Of addresses of missing expected nodes, how far they got (Expected.text).
    hosts: Mapping[str, str] = field(default_factory=dict)
    # Of the complete round, around this node's rank.
    neighbours: tuple[_core.Node | None, _core.Node | None] = (None, None)
    rank_0: _core.Node | None = None  # of the complete round; None: it has left, or was not asked

    @property
    def nodes(self) -> int:
        """All nodes that look at this state from time to time."""
        return self.participants_count + self.waiting + self.spares


class Pace:
    """Pauses between two looks: shorter after a change, longer the more nodes share the store."""

    def __init__(self) -> None:
        self._pause_s = 0.0
        self._before: tuple[object, ...] | None = None

    def sleep(self, standing: Standing, look_s: float, deadline: Deadline) -> None:
        """Sleep until the next look is due. `look_s`: how long the last one took."""
        seen = (
            standing.role,
            standing.round,
            standing.participants_count,
            standing.waiting,
            standing.spares,
        )
        # All nodes together look some 1,000 times a second while things move, 250 when they rest.
        # And a look that took long says that machine, network or server have enough to do.
        longest_s = min(LOOK_S_MAX, max(0.25, standing.nodes / 250))
        shortest_s = min(longest_s, max(0.02, standing.nodes / 1_000, 8 * look_s))
        self._pause_s = min(self._pause_s * 1.5, longest_s) if seen == self._before else shortest_s
        self._before = seen
        pause_s = self._pause_s * random.uniform(0.6, 1.0)  # noqa: S311
        if standing.look_again_s is not None:
            # The end of a last call is not slept through. A little scatter, as all nodes know it.
            until_s = standing.look_again_s - now_s() + random.uniform(0.0, shortest_s)  # noqa: S311
            pause_s = min(pause_s, max(until_s, shortest_s / 2))
        deadline.sleep(pause_s)


class Progress:
    """What the log says while a node waits."""

    def __init__(self, setup: NodeSetup, time: JoinTime) -> None:
        self._run_id = setup.run_id
        self._settings = setup.settings
        self._expected = setup.expected
        self._expected.find_addresses()
        self._time = time
        self._next = Deadline.after(_PROGRESS_S)
        self._told: tuple[_core.Node, ...] = ()
        self._in_last_call = False

    @staticmethod
    def interval_s() -> float:
        """Between two lines of the log."""
        return _PROGRESS_S

    def tell(self, standing: Standing) -> None:
        """Every ten seconds, and when a last call begins."""
        if standing.last_call_left_s is not None and not self._in_last_call:
            _log.info(
                "run %r: %d nodes are here, which is enough; waiting %.1f s for more (at most %d)",
                self._run_id,
                standing.participants_count,
                standing.last_call_left_s,
                self._settings.max_nodes,
            )
        self._in_last_call = standing.last_call_left_s is not None
        if self._next.is_over:
            # A spare may wait for days.
            self._next = Deadline.after(_SPARE_PROGRESS_S if self._time.is_spare else _PROGRESS_S)
            _log.info("run %r: %s; %s", self._run_id, self._text(standing), self._left_text())
            self._told = standing.participants

    def tell_failure(self, error: Exception, again: bool) -> None:
        """Once for each outage, and every ten seconds."""
        if again and not self._next.is_over:
            return
        self._next = Deadline.after(_PROGRESS_S)
        _log.warning(
            "run %r: joining goes on as soon as the store answers again; %s: %s",
            self._run_id,
            self._left_text(),
            error,
        )

    def _left_text(self) -> str:
        deadline = self._time.deadline
        return f"{deadline.left_s:.0f} s left" if deadline.is_set else "for as long as it takes"

    def _text(self, standing: Standing) -> str:
        if standing.role in ("waiting", "spare"):
            return (
                f"this node {_PARTS[standing.role]} while round {standing.round} runs with "
                f"{standing.participants_count} nodes"
            )
        low, high = self._settings.min_nodes, self._settings.max_nodes
        count = standing.participants_count
        text = f"{count} of at least {low} (at most {high}) nodes joined"
        missing = _missing(self._expected, standing)
        text += f"; {missing}" if missing else ""
        if count > len(standing.participants):
            return text
        before, now = set(self._told), set(standing.participants)
        for word, nodes in (
            ("new", now - before),
            ("gone", before - now),
            ("lost", set(standing.lost)),
        ):
            if nodes:
                text += f"; {word}: {_names(sorted(nodes))}"
        return text


def timeout_error(
    setup: NodeSetup,
    time: JoinTime,
    standing: Standing | None,
    failure: RendezvousConnectionError | None,
) -> RendezvousTimeoutError:
    """What a node that gives up tells: who joined, who was lost, where it looked, what to do."""
    run_id, waited_s = setup.run_id, time.timeout_s
    low, high = setup.settings.min_nodes, setup.settings.max_nodes
    missing = "" if standing is None else _missing(setup.expected, standing)
    if standing is None:
        text = f"run {run_id!r}: no answer from the store within {waited_s:g} s"
        advice = "check that it runs and can be reached"
    elif standing.role in ("waiting", "spare"):
        text = (
            f"run {run_id!r}: round {standing.round} runs with {_participants(standing)}, "
            f"and did not end within {waited_s:g} s; this node {_PARTS[standing.role]}"
        )
        timeout = "spare_timeout" if time.is_spare else "join_timeout"
        advice = f"raise {timeout} to wait longer, or max_nodes to let more nodes take part"
    else:
        text = (
            f"run {run_id!r}: {standing.participants_count} of at least {low} (at most {high}) "
            f"nodes joined within {waited_s:g} s: {_participants(standing)}"
        )
        text += f"; {missing}" if missing else ""
        advice = (
            "start the missing nodes with the same run id and endpoint and check that they can "
            "reach it, raise join_timeout, or lower min_nodes"
        )
    lost = standing.lost if standing else ()
    if lost:
        text += f"; lost: {_names(lost)}"
    text += f"; the store is at {setup.where}"
    if low > 1 and is_loopback(_host_of(setup.where)):
        text += ", a loopback address, by which each machine reaches only itself"
    if failure is not None:
        text += f"; its last failure: {failure}"
    return RendezvousTimeoutError(
        f"{text}. What to do: {advice}.",
        joined=[node_text(node) for node in (standing.participants if standing else ())],
        lost=[node_text(node) for node in lost],
        missing=setup.expected.missing(standing.participants) if standing and missing else (),
        min_nodes=low,
        max_nodes=high,
    )


def _missing(expected: Expected, standing: Standing) -> str:
    """Of a round that forms."""
    if not expected or standing.role in ("waiting", "spare"):
        return ""
    present, count = standing.participants, standing.participants_count
    return expected.text(present, count, standing.lost, standing.hosts)


def _host_of(where: str) -> str:
    try:
        return parse_endpoint(where, 0)[0]
    except ValueError:  # a path, or several members
        return ""


def finished_error(run_id: str, finished_round: int, role: str | None) -> RendezvousFinishedError:
    """What a node tells that waited for the next round of a job that is over."""
    part = {"spare": " as a spare", "waiting": " as a late joiner"}.get(role or "", "")
    return RendezvousFinishedError(
        f"run {run_id!r}: the job finished (round {finished_round}) while this node waited{part}"
    )


def failed_error(run_id: str, cause: str) -> RendezvousFailedError:
    """What a node tells whose job cannot go on because others gave up."""
    return RendezvousFailedError(
        f"run {run_id!r}: too few nodes are left since nodes gave up for good: {cause}"
    )


def left_error(run_id: str) -> RendezvousStateError:
    """For who joins although another thread, or a signal's handler, has given the place up."""
    return RendezvousStateError(f"run {run_id!r}: this node was told to leave while it was joining")


def standing_text(run_id: str, what: str) -> str:
    """For the log of a node that is a spare, or none any more."""
    if what == "spare":
        return f"run {run_id!r}: the round has all its nodes; this node is a spare"
    return f"run {run_id!r}: this node is no spare any more: the next round has a place for it"


def evicted_text(run_id: str) -> str:
    """For the log of a node that was taken for dead and is not."""
    return (
        f"run {run_id!r}: the others took this node for lost, because its heartbeats did not get "
        "through; it joined again"
    )


def node_text(node: _core.Node) -> str:
    """How messages name a node."""
    return f"{node.addr} (pid {node.pid})"


def _participants(standing: Standing) -> str:
    return _names(standing.participants, standing.participants_count)


def _names(nodes: Sequence[_core.Node], count: int | None = None) -> str:
    text = ", ".join(node_text(node) for node in nodes[:_NAMES_MAX]) or "no node"
    more = (len(nodes) if count is None else count) - _NAMES_MAX
    return f"{text} and {more} more" if more > 0 else text
