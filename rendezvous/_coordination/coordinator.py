"""What a handler asks of whoever runs the rulebook of its run: one interface, several answers.

The rulebook may run in the store's server (by_server/run.py), or in each node over a value that is
replaced by compare-and-set (by_state/run.py). A handler does not know which. Pure but for being
called: an implementation has one background thread at most, and is called from one other.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from time import time_ns

from rendezvous import _core
from rendezvous._base.deadline import Deadline
from rendezvous._base.hosts import is_loopback, own_end_towards
from rendezvous._base.join_time import JoinTime
from rendezvous._coordination.expected import Expected

__all__ = ["Census", "Coordinator", "Ending", "NodeSetup", "Seat", "View", "is_disturbed"]

_LAST_LINE_BYTES_MAX = 512
_ABANDON_S = 1.0


@dataclass(frozen=True)
class NodeSetup:
    """Whose part a coordinator plays, and by which rules.

    Attributes:
        join_s, spare_s: how long a node waits for its round, and as a spare.
        exchange_s: how long one exchange with the backend may take, where the backend lets itself
            be told.
        where: the store, for messages.
        store_is_gone: asks whether the store's host has ended for good, as far as can be seen.
        facts: what the node's rank follows, beside its name.
        expected: which nodes shall come, for messages.
    """

    run_id: str
    node: _core.Node
    settings: _core.GroupSettings
    join_s: float
    spare_s: float
    exchange_s: float
    where: str
    store_is_gone: Callable[[], bool] = field(default=lambda: False)
    facts: _core.NodeFacts = field(default_factory=_core.NodeFacts)
    expected: Expected = field(default_factory=Expected)


@dataclass(frozen=True)
class Ending:
    """Why a node gives up for good.

    unix_ms: by its own clock, to be shown; last_line: of any bytes.
    """

    exit_code: int
    unix_ms: int
    last_line: bytes

    @staticmethod
    def now(exit_code: int, last_line: str | bytes) -> "Ending":
        """One that has just come; of its last line, a part is kept."""
        line = last_line.encode() if isinstance(last_line, str) else last_line
        return Ending(exit_code, time_ns() // 1_000_000, line[:_LAST_LINE_BYTES_MAX])


@dataclass(frozen=True)
class Seat:
    """A node's place in a round that is complete. rank_0: None if it has left already.

    neighbours: of the rank before and the one after, in a ring; likewise.
    """

    round: int
    rank: int
    world_size: int
    rank_0: _core.Node | None
    neighbours: tuple[_core.Node | None, _core.Node | None] = (None, None)


@dataclass(frozen=True)
class Census:
    """Who is there. `participants`: of the forming round, or the active ones of the complete."""

    participants: tuple[_core.Node, ...]
    lost: tuple[_core.Node, ...]
    waiting: tuple[_core.Node, ...]
    spares: tuple[_core.Node, ...]


@dataclass(frozen=True)
class View:
    """What was last heard of the group. Replaced as a whole, so it is read unlocked."""

    round: int = 0
    role: str = "absent"
    closed: bool = False
    # The last round in which this node was seen active (0: none yet), and what has changed since.
    my_round: int = 0
    changes: int = 0


class Coordinator(ABC):
    """One node's line to its group.

    Methods with a deadline wait for a backend that is out
    of reach, raise RendezvousConnectionError when it stays so or the failure is one that time does
    not heal, and RendezvousStateError when what is there is not this run.
    """

    # For so long after the end of a job the nodes that waited for its next round need the store
    # still, to learn that there is none.
    dismissal_s = 0.0

    @property
    @abstractmethod
    def view(self) -> View:
        """What was last heard. Costs nothing."""

    @property
    @abstractmethod
    def is_running(self) -> bool:
        """Whether the node's place is kept and the view is fresh, from this process."""

    @abstractmethod
    def is_intact(self, deadline: Deadline) -> bool:
        """Whether this node is active in a round that has lost nobody, as far as is known."""

    @abstractmethod
    def start(self) -> None:
        """Keep the node's place, and the view fresh, in the background. Nothing if it is so."""

    @abstractmethod
    def ask_to_stop(self) -> None:
        """No further sign of life is begun; one that is under way ends by itself."""

    @abstractmethod
    def stop(self, deadline: Deadline) -> None:
        """End what runs in the background, and wait for that. For good: a last call."""

    def abandon(self) -> None:
        """As `stop`, of a handler that was dropped, or lives at the interpreter's exit."""
        self.stop(Deadline.after(_ABANDON_S))

    @abstractmethod
    def join(self, after_round: int, time: JoinTime) -> Seat:
        """Join a round later than `after_round`; return once it is complete with this node in it.

        Tells `time` when the node becomes a spare, or is none any more. Raises
        RendezvousTimeoutError at the deadline, which says who is there, and
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
        """Leave, and tell the others that nobody starts this node's work again.

        Returns which node gave up first since the last complete round, and why.
        """

    def release(self, deadline: Deadline) -> None:  # noqa: B027  (most have nothing to do)
        """The node has left: end what is kept for it alone. Best effort; raises nothing."""

    @abstractmethod
    def is_disturbed(self, deadline: Deadline) -> bool:
        """Whether the round has lost somebody, or may have, or others wait for the next one.

        Then what breaks now may break because of that. A node that gave up is no such loss. May
        wait for a sign of life of the others; who gives none until the deadline counts as lost.
        """

    @abstractmethod
    def close(self, deadline: Deadline, reason: str = "") -> None:
        """No more nodes are taken, for ever; why, for those that ask."""

    @abstractmethod
    def close_reason(self, deadline: Deadline) -> str:
        """Why the run was closed; empty: it was not, or nobody said."""

    @abstractmethod
    def look(self, deadline: Deadline) -> None:
        """Bring the view up to date, with one exchange."""

    @abstractmethod
    def census(self, deadline: Deadline) -> Census:
        """Who is there, now."""

    def is_deserted(self, deadline: Deadline) -> bool:
        """Whether nobody takes part or waits."""
        census = self.census(deadline)
        return not (census.participants or census.waiting or census.spares)

    def reached_at(self, deadline: Deadline) -> str:
        """By which address nodes elsewhere reach this machine, the store's; empty: there are none.

        Here: where the way to one of them begins.
        """
        for node in self.census(deadline).participants:
            if deadline.is_over:  # names may take long
                break
            if not is_loopback(node.addr) and (own := own_end_towards(node.addr)):
                return own
        return ""


def is_disturbed(group: _core.Group, node: _core.Node) -> bool:
    """What is known to Coordinator.is_disturbed of a group without waiting."""
    has_place = group.complete and group.placement(node).role == "active"
    return not has_place or bool(group.waiting) or len(group.lost) > group.gave_up
