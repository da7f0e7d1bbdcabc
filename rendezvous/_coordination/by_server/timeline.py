"""What a server remembers of its runs: what has happened to them.

Reads only; runs on the caller's thread.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from rendezvous import _core
from rendezvous._base.deadline import Deadline

__all__ = ["RunEvent", "Timeline", "events_of", "look_at_timeline"]

# As the extension has them: number, monotonic time, kind, round, nodes, duration, node, text.
_Told: TypeAlias = tuple[int, float, str, int, int, float, _core.Node | None, str]


@dataclass(frozen=True)
class RunEvent:
    """One thing that has happened to a run, or a warning of the server.

    Attributes:
        number: counted from 1; older events are dropped when the server's limit timeline_bytes is
            reached, and the others keep their numbers.
        time_s: Unix time by this machine's clock.
        monotonic_s: by the server's monotonic clock.
        kind: joined, waiting, spare, last_call, complete, broken, resumed, left, lost, failed,
            gave_up, timed_out, refused, closed, finished, run_failed; warning for the server's own.
        round: that formed or was complete then.
        nodes: in that round then.
        took_s: of complete, since the round's first node; of timed_out, how long the node waited;
            of last_call and broken, how long they may last.
        node: whom it is about; of complete, who came last.
        text: the reason.
    """

    number: int
    time_s: float
    monotonic_s: float
    kind: str
    round: int
    nodes: int
    took_s: float
    node: _core.Node | None
    text: str


@dataclass(frozen=True)
class Timeline:
    """Events, oldest first, and the number that the next one to happen will have."""

    events: list[RunEvent]
    next: int


def look_at_timeline(
    client: _core.RunClient, run_id: str, first: int, deadline: Deadline
) -> Timeline | None:
    """What has happened to the run, from the event numbered `first` on. None: no such run.

    Args:
        run_id: "": the server's own warnings.
    """
    known, now_s, following, events = client.timeline(run_id, first, deadline.left_s)
    if not known:
        return None
    return Timeline(events_of(events, now_s), following)


def events_of(events: Iterable[_Told], now_s: float) -> list[RunEvent]:
    """With the times of this machine's clock.

    Args:
        now_s: the server's monotonic time when it told them.
    """
    began_s = time.time() - now_s
    return [
        RunEvent(number, began_s + at_s, at_s, kind, round_number, nodes, took_s, node, text)
        for number, at_s, kind, round_number, nodes, took_s, node, text in events
    ]
