"""What somebody who looks at a run wants to know: who is missing, and how far they got.

For `rendezvous status`. Asks a place where runs are kept; prints nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from rendezvous._coordination.by_server.timeline import (
    RunEvent,
    Timeline,
    events_of,
    look_at_timeline,
)
from rendezvous._coordination.expected import UNKNOWN, Expected
from rendezvous._coordination.missing import GAP, LOST, Missing, MissingNodes, find_missing
from rendezvous._coordination.run_view import NodeKey, key_of
from rendezvous._node.expect import make_expected
from rendezvous._node.notes import expected_key, find_exclusions, find_expected

if TYPE_CHECKING:
    from rendezvous._base.deadline import Deadline
    from rendezvous._coordination.run_view import RunView

__all__ = [
    "LOST",
    "NodeKey",
    "Past",
    "Place",
    "Report",
    "Timeline",
    "events_of",
    "examine",
    "expected_key",
    "find_exclusions",
    "find_expected",
    "is_complete",
    "key_of",
    "look_at_timeline",
    "past_of",
]

# For the addresses of all names together; what is not known by then plays no part.
_NAMES_S = 1.0
_FEW_NODES = 2
# Events that say where a node stands.
_OF_NODES = ("joined", "waiting", "spare", "resumed", "left", "lost", "failed", "gave_up")


@dataclass(frozen=True)
class Past:
    """What has happened to a node last.

    Attributes:
        what: as of a timeline's kinds: joined, waiting, spare, lost, failed and so on.
        time_s: when, by this machine's clock, in Unix time.
        why: the reason; may be empty.
    """

    what: str
    time_s: float
    why: str


def past_of(events: Iterable[RunEvent]) -> dict[NodeKey, Past]:
    """What has happened to each node last."""
    found = {}
    for event in events:
        node = event.node
        if node is not None and event.kind in _OF_NODES:
            key = key_of(node)
            found[key] = Past(event.kind, event.time_s, event.text)
    return found


class Place(Protocol):
    """Where runs are kept. Methods raise StoreErrors and RendezvousErrors."""

    @property
    def endpoint(self) -> str:
        """As it is named."""

    def look_at_run(self, run_id: str, deadline: Deadline, limit: int | None) -> RunView | None:
        """None: it knows no such run."""

    def similar_runs(self, run_id: str, deadline: Deadline) -> list[str]:
        """Those that may be meant by that name."""

    def expected(self, run_id: str, deadline: Deadline) -> str:
        """Which nodes the run's nodes expect, as they said it; empty: they said nothing."""

    def excluded(self, run_id: str, deadline: Deadline) -> list[str]:
        """Which nodes do not take part, and why, as they said it."""

    def history(self, run_id: str, deadline: Deadline) -> Mapping[NodeKey, Past]:
        """What has happened to each node last, as far as the place remembers it."""

    def host_states(self, addresses: Sequence[str], deadline: Deadline) -> dict[str, str]:
        """As of RunView.hosts; empty where nobody knows."""


@dataclass(frozen=True)
class Report:
    """What was found of one run.

    Attributes:
        similar: other runs there whose names may be meant.
        excluded: nodes that have said why they do not take part.
        history: what has happened to each node last.
    """

    view: RunView
    run_id: str
    endpoint: str
    missing: Missing = field(default_factory=Missing)
    similar: Sequence[str] = ()
    excluded: Sequence[str] = ()
    history: Mapping[NodeKey, Past] = field(default_factory=dict)


def is_complete(view: RunView) -> bool:
    """Whether nobody has to come for the job to run: its round is complete, or it is over."""
    is_over = view.finished_round > 0 and not view.counts.listed
    return view.complete or is_over


def examine(place: Place, run_id: str, expect: str | None, deadline: Deadline) -> Report | None:
    """None: there is no such run. Raises what Place does, and ValueError for a bad `expect`.

    expect: None: as the run's nodes have said.
    """
    expected = None if expect is None else make_expected(expect)
    view = place.look_at_run(run_id, deadline, None)
    if view is None:
        return None
    history = place.history(run_id, deadline)
    if is_complete(view):
        return Report(view, run_id, place.endpoint, history=history)
    if expected is None:
        expected = _noted(place.expected(run_id, deadline))
    missing, view = _missing(place, view, expected, deadline)
    least = view.settings.min_nodes if view.settings else 0
    few = min(_FEW_NODES, least // 2)
    return Report(
        view,
        run_id,
        place.endpoint,
        missing,
        place.similar_runs(run_id, deadline) if view.counts.participants <= few else (),
        place.excluded(run_id, deadline),
        history,
    )


def _noted(text: str) -> Expected:
    """What other nodes have written need not make sense."""
    try:
        return make_expected(text or None)
    except ValueError:
        return Expected()


def _missing(
    place: Place, view: RunView, expected: Expected, deadline: Deadline
) -> tuple[Missing, RunView]:
    """With how far each one got, as far as the server knows addresses."""
    expected.find_addresses(deadline.sooner(_NAMES_S).left_s)
    addresses = expected.addresses(expected.missing(view.participants))
    view = replace(view, hosts=place.host_states(addresses, deadline))
    missing = find_missing(view, expected)
    if not missing.gaps:
        return missing, view
    # The gaps are names, too: whose addresses are known may have connected.
    likely = Expected(missing.gaps)
    likely.find_addresses(deadline.sooner(_NAMES_S).left_s)
    addresses = likely.addresses(likely.names)
    states = place.host_states(addresses, deadline)
    groups = [group for group in missing.groups if group.how != GAP]
    for how, names in likely.missing_by_how((), (), states).items():
        why = GAP if how == UNKNOWN else f"{GAP}; {how}"
        groups.append(MissingNodes(tuple(names), why, is_sure=False))
    return replace(missing, groups=tuple(groups)), view
