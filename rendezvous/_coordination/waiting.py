"""The log lines and errors of a node that waits for a round.

Pure except for the clock and the log: knows neither the rulebook nor the backend.
"""

import logging
import random
from collections.abc import Sequence

from rendezvous import _core
from rendezvous._base.deadline import Deadline
from rendezvous._base.endpoint import parse_endpoint
from rendezvous._base.errors import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousFailedError,
    RendezvousFinishedError,
    RendezvousStateError,
    RendezvousTimeoutError,
)
from rendezvous._base.host_names import count_names, join_names
from rendezvous._base.hosts import is_loopback
from rendezvous._base.join_time import JoinTime
from rendezvous._base.text import counted, node_text
from rendezvous._coordination.coordinator import Closure, NodeSetup
from rendezvous._coordination.expected import Expected
from rendezvous._coordination.missing import find_missing
from rendezvous._coordination.run_view import RunView

__all__ = [
    "Progress",
    "changes_text",
    "closed_error",
    "evicted_text",
    "failed_error",
    "finished_error",
    "left_error",
    "standing_text",
    "timeout_error",
]

_log = logging.getLogger(__name__)

_PROGRESS_S = 10.0
_SPARE_PROGRESS_S = 300.0
_NAMES_MAX = 16
# With more nodes, one looks for those that are excluded with each sixth line only.
_FEW_LISTED = 64
_SELDOM = 6
# How many of the nodes that wait say at a time which ones are expected.
_TELLERS = 4
# Of more, somebody has seen how the run is called.
_FEW_NODES = 2
_PARTS = {"waiting": "waits for the next round", "spare": "is a spare"}


class Progress:
    """What the log says while a node waits."""

    def __init__(self, setup: NodeSetup, time: JoinTime) -> None:
        self._run_id = setup.run_id
        self._settings = setup.settings
        self._expected = setup.expected
        self._expected.find_addresses()
        self._tell = setup.tell_expected
        self._find_similar = setup.similar_runs
        self._similar: list[str] | None = None
        self._time = time
        self._next = Deadline.after(_PROGRESS_S)
        self._told: tuple[_core.Node, ...] = ()
        self._find_excluded = setup.excluded
        self._told_excluded: set[str] = set()
        self._lines = 0
        self._in_last_call = False

    @property
    def due(self) -> Deadline:
        """When the next log line is due."""
        return self._next

    def tell(self, view: RunView) -> None:
        """Every ten seconds, and when a last call begins."""
        if view.last_call_left_s is not None and not self._in_last_call:
            _log.info(
                "run %r: %s joined, which is enough; waiting %.1f s for more (at most %d)",
                self._run_id,
                _joined(view.counts.participants),
                view.last_call_left_s,
                self._settings.max_nodes,
            )
        self._in_last_call = view.last_call_left_s is not None
        if self._next.is_over:
            # A spare may wait for days.
            self._tell_expected(view)
            self._look_for_similar(view)
            self._next = Deadline.after(_SPARE_PROGRESS_S if self._time.is_spare else _PROGRESS_S)
            _log.info("run %r: %s; %s", self._run_id, self._text(view), self._left_text())
            self._told = view.participants
            self._lines += 1
            if view.role == "forming" and (
                view.counts.listed <= _FEW_LISTED or self._lines % _SELDOM == 0
            ):
                self._tell_excluded()

    def _tell_excluded(self) -> None:
        """Each once, when its health check has failed."""
        for text in self._find_excluded():
            if text not in self._told_excluded:
                self._told_excluded.add(text)
                _log.warning("run %r: a node does not take part: %s", self._run_id, text)

    def _tell_expected(self, view: RunView) -> None:
        """A few nodes of all that wait: each of them may know all names."""
        if not self._expected.names or view.role in ("waiting", "spare"):
            return
        if random.random() * view.counts.participants < _TELLERS:  # noqa: S311
            self._tell()

    def _look_for_similar(self, view: RunView) -> None:
        """Once, if hardly anybody came: the name of the run may be misspelled, here or there."""
        if self._similar is None and view.role not in ("waiting", "spare"):
            few = min(_FEW_NODES, self._settings.min_nodes // 2)
            self._similar = self._find_similar() if view.counts.participants <= few else []

    def tell_failure(self, error: Exception, again: bool) -> None:
        """Once for each outage, and every ten seconds."""
        if again and not self._next.is_over:
            return
        self._next = Deadline.after(_PROGRESS_S)
        _log.warning(
            "run %r: joining continues as soon as the store answers; %s: %s",
            self._run_id,
            self._left_text(),
            error,
        )

    def _left_text(self) -> str:
        deadline = self._time.deadline
        return f"{deadline.left_s:.0f} s left" if deadline.is_set else "for as long as it takes"

    def _text(self, view: RunView) -> str:
        if view.role in ("waiting", "spare"):
            return (
                f"this node {_PARTS[view.role]} while round {view.round} runs with "
                f"{counted(view.counts.participants, 'node')}"
            )
        low, high = self._settings.min_nodes, self._settings.max_nodes
        count = view.counts.participants
        text = f"{count} of at least {low} (at most {high}) nodes joined"
        missing = _missing(self._expected, view)
        text += f"; {missing}" if missing else ""
        if self._similar:
            names = ", ".join(map(repr, self._similar))
            text += f"; the store also has the run {names}: is one of the names misspelled?"
        if count > len(view.participants):
            return text
        before, now = set(self._told), set(view.participants)
        for word, nodes in (
            ("new", now - before),
            ("gone", before - now),
            ("lost", set(view.lost)),
        ):
            if nodes:
                text += f"; {word}: {_names(sorted(nodes))}"
        return text


def timeout_error(
    setup: NodeSetup,
    time: JoinTime,
    view: RunView | None,
    failure: RendezvousConnectionError | None,
) -> RendezvousTimeoutError:
    """The error of a node that gives up: the nodes that joined or were lost, and what to do."""
    run_id, waited_s = setup.run_id, time.timeout_s
    low, high = setup.settings.min_nodes, setup.settings.max_nodes
    missing = "" if view is None else _missing(setup.expected, view)
    expected = "" if view is None else _missing_of_expected(setup.expected, view)
    if view is None:
        text = f"run {run_id!r}: no answer from the store within {waited_s:g} s"
        advice = "check that it runs and can be reached"
    elif view.role in ("waiting", "spare"):
        text = (
            f"run {run_id!r}: round {view.round} runs with {_participants(view)}, "
            f"and did not end within {waited_s:g} s; this node {_PARTS[view.role]}"
        )
        timeout = "spare_timeout" if time.is_spare else "join_timeout"
        advice = f"raise {timeout} to wait longer, or max_nodes to let more nodes take part"
    else:
        text = (
            f"run {run_id!r}: {view.counts.participants} of at least {low} (at most {high}) "
            f"nodes joined within {waited_s:g} s: "
        )
        # First who is missing: of many nodes, those that are there fill lines.
        text += f"{missing}; joined: " if missing else ""
        text += _participants(view)
        advice = (
            "start the missing nodes with the same run id and endpoint and check that they can "
            "reach it, raise join_timeout, or lower min_nodes"
        )
        if not setup.expected.names:
            advice += "; which nodes are missing is known if expect names all of them"
    lost = view.lost if view else ()
    if lost:
        text += f"; lost: {_names(lost)}"
    text += f"; the store is at {setup.where}"
    if low > 1 and is_loopback(_host_of(setup.where)):
        text += ", a loopback address, by which each machine reaches only itself"
    if failure is not None:
        text += f"; its last failure: {failure}"
    return RendezvousTimeoutError(
        f"{text}. What to do: {advice}.",
        joined=[node_text(node) for node in (view.participants if view else ())],
        lost=[node_text(node) for node in lost],
        missing=setup.expected.missing(view.participants) if view and expected else (),
        min_nodes=low,
        max_nodes=high,
    )


def _joined(count: int) -> str:
    return f"{counted(count, 'node')} {'has' if count == 1 else 'have'}"


def _missing(expected: Expected, view: RunView) -> str:
    """Of a round that forms: as the launcher expects them, else as far as the names tell."""
    if view.role in ("waiting", "spare"):
        return ""
    text = _missing_of_expected(expected, view)
    if expected.names:
        return text
    # The lost ones are told as such anyway.
    likely = find_missing(view, expected).gaps
    more = f"likely missing, by the gaps in the names: {join_names(likely)}" if likely else ""
    return "; ".join(filter(None, (text, more)))


def _missing_of_expected(expected: Expected, view: RunView) -> str:
    if not expected or view.role in ("waiting", "spare"):
        return ""
    return expected.text(view.participants, view.counts.participants, view.lost, view.hosts)


def _host_of(where: str) -> str:
    try:
        return parse_endpoint(where, 0)[0]
    except ValueError:  # a path, or several members
        return ""


def finished_error(run_id: str, finished_round: int, role: str | None) -> RendezvousFinishedError:
    """The error of a node that waited for the next round of a job that is over."""
    part = {"spare": " as a spare", "waiting": " as a late joiner"}.get(role or "", "")
    return RendezvousFinishedError(
        f"run {run_id!r}: the job finished (round {finished_round}) while this node waited{part}"
    )


def closed_error(run_id: str, closure: Closure) -> RendezvousClosedError:
    """The error of a node whose run was closed, in the words of the rulebook."""
    why = f": {closure.reason!r}" if closure.reason else ""
    what = "is closed"
    if closure.do_not_restart:
        what = "has failed for good and is not to be restarted"
    kind = RendezvousFailedError if closure.do_not_restart else RendezvousClosedError
    return kind(f"run {run_id!r}: the run {what}{why}; use another run id for a new job")


def failed_error(run_id: str, cause: str) -> RendezvousFailedError:
    """The error of a node whose job cannot go on because others gave up."""
    return RendezvousFailedError(
        f"run {run_id!r}: too few nodes are left because nodes gave up for good: {cause}"
    )


def left_error(run_id: str) -> RendezvousStateError:
    """The error of a join after another thread, or a signal handler, gave up the node's place."""
    return RendezvousStateError(f"run {run_id!r}: this node was told to leave while it was joining")


def standing_text(run_id: str, what: str) -> str:
    """The log line of a node that became a spare, or is no longer one."""
    if what == "spare":
        return f"run {run_id!r}: the round has all its nodes; this node is a spare"
    return f"run {run_id!r}: this node is no longer a spare: the next round has a place for it"


def evicted_text(run_id: str) -> str:
    """The log line of a node that was considered dead but is alive."""
    return (
        f"run {run_id!r}: the others considered this node lost, because its heartbeats did not "
        "arrive; it joined again"
    )


def changes_text(view: RunView) -> str:
    """Who came and who went since the round was complete; empty if nobody did."""
    parts = []
    for word, nodes, count in (
        ("lost", view.lost, view.counts.lost),
        ("waiting for the next round", view.waiting, view.counts.waiting),
    ):
        if nodes:
            parts.append(f"{word}: {_names(nodes, count)}")
    return "; ".join(parts)


def _participants(view: RunView) -> str:
    return _names(view.participants, view.counts.participants)


def _names(nodes: Sequence[_core.Node], count: int | None = None) -> str:
    more = (len(nodes) if count is None else count) - len(nodes)
    if len(nodes) <= _NAMES_MAX:
        text = ", ".join(map(node_text, nodes)) or "no node"
    else:
        text = count_names(node.addr for node in nodes)
    return f"{text} and {more} more" if more > 0 else text
