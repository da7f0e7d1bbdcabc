"""The nodes in a run: one shape for all observers and all ways of keeping a run.

Each source has a function that fills it: `view_of_group` from a local group, by_server/view.py from
the store's server, backends/etcd/run/view.py from etcd. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from rendezvous import _core

__all__ = ["Counts", "KeptBy", "NodeKey", "RunView", "key_of", "view_of_group"]

KeptBy: TypeAlias = Literal["server", "leader", "store"]
# Address, process id and local id of a node, which may be gone.
NodeKey: TypeAlias = tuple[str, int, int]


@dataclass(frozen=True)
class Counts:
    """How many nodes there are of each list, cut or not."""

    participants: int = 0
    waiting: int = 0
    spares: int = 0
    lost: int = 0
    asking: int = 0

    @property
    def listed(self) -> int:
        """All nodes that look at the run."""
        return self.participants + self.waiting + self.spares


@dataclass(frozen=True)
class RunView:
    """A run at one moment, as seen by a node or an observer.

    Attributes:
        kept_by: `server`; `leader` for an elected node; `store` for nodes that keep it by
            compare-and-set.
        failed: for good, so that nobody should restart it.
        finished_round: the last round that every participant finished; 0: none.
        world_size: of the complete round, nodes that are gone included; 0 while it forms.
        settings: None before the first node has joined.
        participants: of the forming round, or those still active in the complete one, by rank. This
            list and the next ones may be cut, or left out if they are not needed.
        ranks: of the participants, for an observer; -1 while the round forms.
        last_call_left_s: None if no last call runs. If the nodes keep the run, it is an upper
            bound: only they know when the last call began.
        look_again_s: when the run changes by itself, by the clock of deadlines; None: not known.
        role, rank: of this node. rank_0: of the complete round; None: it has left, or was not
        requested.
        leader: the elected node; None: there is none now, or never.
        neighbours: in the complete round, of the rank before this node's and the one after.
        hosts: of addresses of expected nodes that are missing, how far they got (Expected.text).
        asking: over etcd, nodes that want something and have no answer of the leader yet.
        suspects: how many nodes' connections broke that may come back; only a server knows.
        silence_s: how long ago each node was heard, as far as it is known, which only a server
            tells observers.
        cause: which node gave up first, and why. close_reason: as it was given. Empty: none.
    """

    kept_by: KeptBy
    round: int
    complete: bool = False
    closed: bool = False
    failed: bool = False
    finished_round: int = 0
    world_size: int = 0
    settings: _core.GroupSettings | None = None
    participants: tuple[_core.Node, ...] = ()
    ranks: tuple[int, ...] = ()
    waiting: tuple[_core.Node, ...] = ()
    spares: tuple[_core.Node, ...] = ()
    lost: tuple[_core.Node, ...] = ()
    counts: Counts = field(default_factory=Counts)
    last_call_left_s: float | None = None
    look_again_s: float | None = None
    role: str = "absent"
    rank: int = -1
    rank_0: _core.Node | None = None
    leader: _core.Node | None = None
    asking: tuple[_core.Node, ...] = ()
    neighbours: tuple[_core.Node | None, _core.Node | None] = (None, None)
    hosts: Mapping[str, str] = field(default_factory=dict)
    suspects: int = 0
    cause: str = ""
    close_reason: str = ""
    silence_s: Mapping[NodeKey, float] = field(default_factory=dict)


def key_of(node: _core.Node) -> NodeKey:
    return node.addr, node.pid, node.local_id


def view_of_group(
    group: _core.Group,
    at_s: float,
    kept_by: KeptBy,
    node: _core.Node | None = None,
    limit: int | None = None,
) -> RunView:
    """The group as it is.

    Args:
        node: this node; None: an observer, which gets the participants' ranks.
        limit: how many nodes of each list; None: all.
    """
    participants, waiting = group.participants, group.waiting
    spares, lost = group.spares, group.lost
    first = participants[0] if participants else None
    if first is not None and group.placement(first).rank != 0:
        first = None  # they stand in the order of their ranks, and who left is none
    own = None if node is None else group.placement(node)
    shown = participants[:limit]
    return RunView(
        kept_by,
        group.round,
        complete=group.complete,
        closed=group.closed,
        failed=group.failed,
        finished_round=group.finished_round,
        world_size=group.world_size,
        settings=group.settings,
        participants=tuple(shown),
        ranks=() if own else tuple(group.placement(each).rank for each in shown),
        waiting=tuple(waiting[:limit]),
        spares=tuple(spares[:limit]),
        lost=tuple(lost[:limit]),
        counts=Counts(len(participants), len(waiting), len(spares), len(lost)),
        last_call_left_s=group.last_call_left(at_s),
        look_again_s=group.next_deadline(),
        role=own.role if own else "absent",
        rank=own.rank if own else -1,
        rank_0=first,
        neighbours=_neighbours(group, own),
        cause=group.cause,
        close_reason=group.close_reason,
    )


def _neighbours(
    group: _core.Group, own: _core.Placement | None
) -> tuple[_core.Node | None, _core.Node | None]:
    if own is None or own.role != "active":
        return None, None
    rank, size = own.rank, group.world_size
    return group.node_at((rank - 1) % size), group.node_at((rank + 1) % size)
