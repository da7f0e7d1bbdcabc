"""What is told of a run to who follows it. Plain values."""

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
        local_id: tells several nodes of one process apart.
        role: 'participant', 'waiting' (for the next round) or 'spare'.
        rank: in the complete round; None while it forms, and for who only waits.
    """

    address: str
    pid: int
    local_id: int
    role: Role
    rank: int | None


@dataclass(frozen=True)
class Gone:
    """A node that is in the run no more.

    Attributes:
        member: what it was.
        how: 'left'; 'lost' (its heartbeats stopped, or its connection broke); 'failed' and
            'gave_up', as it said itself; 'dismissed' (the run was closed, or the job finished).
    """

    member: Member
    how: How


@dataclass(frozen=True)
class RunChange:
    """A run as it is now, and who came and went since the last look at it.

    Attributes:
        run_id: which run.
        known: whether the server keeps it; False before its first node has joined.
        round: that forms, or is complete.
        complete: which of the two.
        closed: nobody is taken any more.
        failed: too few are left, because nodes gave up.
        finished_round: the last round that all its nodes left as done; 0: none.
        world_size: of the complete round.
        min_nodes, max_nodes: of a round; 0 while nobody is known.
        members: all nodes, participants first.
        came: those of the members who were not there before.
        went: who is there no more.
        missing: how many the round lacks to have min_nodes: of those that form it; of a complete
            one, not counting those that were lost.
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
