"""What a node of a round is told while the round runs."""

from dataclasses import dataclass

__all__ = ["Change"]


@dataclass(frozen=True)
class Change:
    """What has changed in the group since the round was complete.

    Attributes:
        active: whether this node still has its place in the round.
        changes: how many nodes wait for the next round, or were lost from this one.
        closed: whether the run was closed: no more nodes can join.
    """

    active: bool
    changes: int
    closed: bool
