"""What the followers of a run are told. Plain values."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Gone", "How", "Member", "Role", "RunChange"]

Role: TypeAlias = Literal["participant", "waiting", "spare"]
How: TypeAlias = Literal["left", "lost", "failed", "gave_up", "dismissed"]


@dataclass(frozen=True)
class Member:
    """A node of a run.

    Attributes:
        address: the host, as the node calls itself.
        pid: of the process that joined.
        local_id: distinguishes several nodes of one process.
        role: 'participant', 'waiting' (for the next round) or 'spare'.
        rank: in the complete round; None while it forms, and for nodes that only wait.
    """

    address: str
    pid: int
    local_id: int
    role: Role
    rank: int | None


@dataclass(frozen=True)
class Gone:
    """A node that is no longer in the run.

    Attributes:
        member: what it was.
        how: 'left'; 'lost' (its heartbeats stopped, or its connection broke); 'failed' and
            'gave_up', as the node itself said; 'dismissed' (the run was closed, or the job
            finished).
    """

    member: Member
    how: How


@dataclass(frozen=True)
class RunChange:
    """The current state of a run, and the nodes that came and went since the last change.

    Attributes:
        run_id: the run.
        known: whether the server knows the run; False before its first node joins.
        round: the round that is forming or complete.
        complete: whether the round is complete.
        closed: no more nodes can join.
        failed: too few nodes are left, because nodes gave up.
        finished_round: the last round that all its nodes finished; 0: none.
        world_size: number of nodes of the complete round.
        min_nodes, max_nodes: limits of a round; 0 before the first node joins.
        members: all nodes, participants first.
        came: the members that were not there before.
        went: the nodes that are no longer there.
        missing: how many nodes the round still needs to have min_nodes; in a complete round, lost
            nodes do not count.
    """

    run_id: str
    known: bool
    round: int
    complete: bool
    closed: bool
    failed: bool
    finished_round: int
    world_size: int
    min_nodes: int
    max_nodes: int
    members: tuple[Member, ...]
    came: tuple[Member, ...]
    went: tuple[Gone, ...]
    missing: int
