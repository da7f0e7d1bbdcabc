"""The interface between a handler and the rulebook of its run, with several implementations.

The rulebook may run in the store's server (by_server/run.py), or in each node over a value that is
replaced by compare-and-set (by_state/run.py). A handler does not know which. An implementation has
at most one background thread, and is called from one other thread.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from time import time_ns

from rendezvous import _core
from rendezvous._base.deadline import Deadline
from rendezvous._base.hosts import is_loopback, own_end_towards
from rendezvous._base.join_time import JoinTime
from rendezvous._base.threads import Background
from rendezvous._coordination.expected import Expected
from rendezvous._coordination.run_view import RunView

__all__ = [
    "Closure",
    "Coordinator",
    "Ending",
    "NodeSetup",
    "OwnView",
    "Seat",
    "closure_of_group",
    "is_disturbed",
]

_LAST_LINE_BYTES_MAX = 512
_ABANDON_S = 1.0


@dataclass(frozen=True)
class NodeSetup:
    """The node for which a coordinator works, and its rules.

    Attributes:
        exchange_s: how long one exchange with the backend may take, if the backend has timeouts.
        where: the store, for messages.
        store_is_gone: returns whether the store's host has ended for good, as far as is known.
        facts: what the node's rank depends on, besides its name.
        expected: the nodes that should come, for messages.
        excluded: asks the store which nodes have said that they do not take part, each with its
            reason; may take some seconds, and raises nothing.
        tell_expected: tells others at the store which ones those are; called while the node waits.
        similar_runs: asks the store for runs whose names may be meant instead; raises nothing.
    """

    run_id: str
    node: _core.Node
    settings: _core.GroupSettings
    exchange_s: float
    where: str
    store_is_gone: Callable[[], bool] = field(default=lambda: False)
    facts: _core.NodeFacts = field(default_factory=_core.NodeFacts)
    expected: Expected = field(default_factory=Expected)
    tell_expected: Callable[[], None] = field(default=lambda: None)
    similar_runs: Callable[[], list[str]] = field(default=list)
    excluded: Callable[[], list[str]] = field(default=list)


@dataclass(frozen=True)
class Ending:
    """Why a node gives up for good.

    unix_ms: by its own clock, for display. last_line: any bytes. do_not_restart: the run ends by
    it.
    """

    exit_code: int
    unix_ms: int
    last_line: bytes
    do_not_restart: bool = False

    @staticmethod
    def now(exit_code: int, last_line: str | bytes, do_not_restart: bool = False) -> "Ending":
        """An ending at this moment; only a part of a long last line is kept."""
        line = last_line.encode() if isinstance(last_line, str) else last_line
        line = line[:_LAST_LINE_BYTES_MAX]
        return Ending(exit_code, time_ns() // 1_000_000, line, do_not_restart)


@dataclass(frozen=True)
class Closure:
    """How a run was closed: why (empty: nobody said), and whether it has failed for good."""

    reason: str = ""
    do_not_restart: bool = False


@dataclass(frozen=True)
class Seat:
    """A node's place in a round that is complete. rank_0: None if it has left already.

    neighbours: of the rank before and the one after, in a ring; None for one that has left.
    """

    round: int
    rank: int
    world_size: int
    rank_0: _core.Node | None
    neighbours: tuple[_core.Node | None, _core.Node | None] = (None, None)


@dataclass(frozen=True)
class OwnView:
    """This node's own place, as last heard. Replaced as a whole, so it can be read without a
    lock."""

    round: int = 0
    role: str = "absent"
    closed: bool = False
    # The last round in which this node was seen active (0: none yet), and what has changed since.
    my_round: int = 0
    changes: int = 0


class Coordinator(ABC):
    """One node's access to its group.

    Methods with a deadline wait for a backend that cannot be reached. They raise
    RendezvousConnectionError at the deadline or for a permanent failure, and RendezvousStateError
    when the stored state is not that of this run.
    """

    # For so long after the end of a job the nodes that waited for its next round need the store
    # still, to learn that there is none.
    dismissal_s = 0.0

    def __init__(self, background: Background) -> None:
        """background: keeps the node's place and the view up to date."""
        self._background = background

    @property
    @abstractmethod
    def view(self) -> OwnView:
        """The last known state. Costs nothing."""

    @property
    def is_running(self) -> bool:
        """Whether the node's place is kept and the view is fresh, from this process."""
        return self._background.is_running

    def start(self) -> None:
        """Keep the node's place and the view up to date, in the background. Idempotent."""
        self._background.start()

    def ask_to_stop(self) -> None:
        """Send no further heartbeat; one that is under way ends by itself."""
        self._background.ask_to_stop()

    def stop(self, deadline: Deadline) -> None:
        """End the background work for good, and wait for its end. This is the last call."""
        self._background.stop(deadline)

    @abstractmethod
    def is_intact(self, deadline: Deadline) -> bool:
        """Whether this node is active in a round without losses, as far as is known."""

    def abandon(self) -> None:
        """Like `stop`, for a handler that was dropped, or exists when the interpreter exits."""
        self.stop(Deadline.after(_ABANDON_S))

    @abstractmethod
    def join(self, after_round: int, time: JoinTime) -> Seat:
        """Join a round later than `after_round`; return once it is complete with this node in it.

        Tells `time` when the node becomes a spare, or is no longer one. Raises
        RendezvousTimeoutError at the deadline, which names the nodes that joined, and
        RendezvousClosedError when the run was closed; RendezvousFinishedError when the others
        finished the job while this node waited.
        """

    @abstractmethod
    def leave(self, failed: bool, deadline: Deadline) -> bool:
        """Give up the node's place; nothing for a node without one.

        Returns whether others waited for the next round. See DynamicRendezvousHandler.leave.
        """

    @abstractmethod
    def give_up(self, ending: Ending, deadline: Deadline) -> str:
        """Leave, and tell the others that this node's work will not be restarted.

        Returns which node gave up first since the last complete round, and why.
        """

    def release(self, deadline: Deadline) -> None:  # noqa: B027  (most have nothing to do)
        """The node has left: release what is kept only for it. Best effort; raises nothing."""

    @abstractmethod
    def is_disturbed(self, deadline: Deadline) -> bool:
        """Whether the round has lost a node, or may have, or others wait for the next round.

        If so, a failure now may be due to that. A node that gave up does not count. May wait for a
        heartbeat of the others; a node that sends none until the deadline counts as lost.
        """

    @abstractmethod
    def close(self, deadline: Deadline, closure: Closure) -> None:
        """Let no more nodes join, for good; the reason is told to those that ask."""

    @abstractmethod
    def closure(self, deadline: Deadline) -> Closure:
        """How the run was closed, or has failed; empty if it was not, and has not."""

    @abstractmethod
    def look(self, deadline: Deadline) -> None:
        """Bring the view up to date, with one exchange."""

    @abstractmethod
    def census(self, deadline: Deadline) -> RunView:
        """Who is there, now."""

    def is_deserted(self, deadline: Deadline) -> bool:
        """Whether no node takes part or waits."""
        return self.census(deadline).counts.listed == 0

    def changed_nodes(self, deadline: Deadline) -> RunView:
        """Those that were lost and those that wait, some of them by name: for messages."""
        return self.census(deadline)

    def reached_at(self, deadline: Deadline) -> str:
        """The address by which nodes on other machines reach this machine, which has the store;
        empty: there are none.

        Here: the local address of the route to one of them.
        """
        for node in self.census(deadline).participants:
            if deadline.is_over:  # names may take long
                break
            if not is_loopback(node.addr) and (own := own_end_towards(node.addr)):
                return own
        return ""


def closure_of_group(group: _core.Group) -> Closure:
    """The answer of Coordinator.closure."""
    return Closure(group.failure if group.failed else group.close_reason, group.failed)


def is_disturbed(group: _core.Group, node: _core.Node) -> bool:
    """The answer of Coordinator.is_disturbed without waiting."""
    has_place = group.complete and group.placement(node).role == "active"
    return not has_place or bool(group.waiting) or len(group.lost) > group.gave_up
