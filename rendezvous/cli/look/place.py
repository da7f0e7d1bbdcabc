"""What a place where runs are kept can be asked, for `rendezvous status` and its like."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rendezvous._base.deadline import Deadline, now_s
from rendezvous.handler.examine import NodeKey, Past, Timeline
from rendezvous.handler.examine import Place as PlaceOfRuns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rendezvous._base.api import RendezvousParameters
    from rendezvous._coordination.run_view import RunView

__all__ = ["ONLOOKER", "Place", "Probe", "Untold", "median_s"]

# The address of who takes no part.
ONLOOKER = "onlooker"
_PINGS = 5


@dataclass(frozen=True)
class Probe:
    """That it is there, for people and as the fields of an object."""

    lines: list[str]
    fields: dict[str, Any]


class Place(PlaceOfRuns, Protocol):
    """Where runs are kept. Methods raise StoreErrors and RendezvousErrors."""

    def probe(self, deadline: Deadline) -> Probe:
        """Whether it is there."""

    def runs(self, deadline: Deadline) -> list[str]:
        """The names of all runs, in natural order."""

    def timeline(self, run_id: str, first: int, deadline: Deadline) -> Timeline | None:
        """As look_at_timeline. None: it has no record of that run."""

    def mark(self, run_id: str, deadline: Deadline) -> int:
        """For `wait_for_change`: what is there now."""

    def wait_for_change(self, run_id: str, mark: int, within_s: float) -> None:
        """Wait until something is not as it was at `mark`, or may not be."""

    def reopen(self) -> None:
        """Connect again with the next request."""

    def excluded(self, run_id: str, deadline: Deadline) -> list[str]:
        """Nodes that do not take part, as their health checks have failed, each with the reason."""

    def parameters(self, run_id: str, view: RunView) -> RendezvousParameters:
        """Of a handler of that run, for who joins nothing."""

    def close(self) -> None:
        """Close its connections."""


class Untold:
    """What only a server of ours can tell, of a place that has none: nothing."""

    def timeline(self, run_id: str, first: int, deadline: Deadline) -> Timeline | None:
        """It has no record of what happened."""
        return None

    def history(self, run_id: str, deadline: Deadline) -> Mapping[NodeKey, Past]:
        """Of no node."""
        return {}

    def host_states(self, addresses: Sequence[str], deadline: Deadline) -> dict[str, str]:
        """Of no address."""
        return {}

    def mark(self, run_id: str, deadline: Deadline) -> int:
        """The same all the time: changes are not told."""
        return 0

    def wait_for_change(self, run_id: str, mark: int, within_s: float) -> None:
        """To the end of the time."""
        time.sleep(within_s)


def median_s(ask: Callable[[], object]) -> float:
    """How long asking takes, in the middle of some times."""
    times_s = []
    for _ in range(_PINGS):
        begun_s = now_s()
        ask()
        times_s.append(now_s() - begun_s)
    return statistics.median(times_s)
