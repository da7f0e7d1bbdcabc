"""Who is in a run that the store's server keeps, for messages and for the end of a job.

Pure but for asking; runs on whichever thread asks.
"""

from typing import Literal, TypeAlias

from rendezvous import _core
from rendezvous._base.deadline import Deadline
from rendezvous._coordination.coordinator import Census
from rendezvous._coordination.expected import Expected
from rendezvous._coordination.waiting import Standing

__all__ = ["census_of", "look_at"]

_List: TypeAlias = Literal["participants", "waiting", "spares", "lost"]

# All nodes of a round that does not come together ask who is there, at the same time: the names of
# very many are cut, or the answers would be the square of their number.
_NAMED_MAX = 1_024
_NAMED_OF_MORE = 128
# That one request may ask about.
_ADDRESSES_MAX = 1_000


def census_of(client: _core.RunClient, deadline: Deadline) -> Census:
    """Everybody, by name."""
    status = client.status(deadline.left_s)

    def nodes(which: _List, count: int) -> tuple[_core.Node, ...]:
        return tuple(client.members(which, deadline.left_s)) if count else ()

    return Census(
        participants=nodes("participants", status.participants),
        lost=nodes("lost", status.lost),
        waiting=nodes("waiting", status.waiting),
        spares=nodes("spares", status.spares),
    )


def look_at(client: _core.RunClient, expected: Expected, deadline: Deadline) -> Standing | None:
    """What a node that joins tells of the run; None if the server keeps none."""
    status = client.status(deadline.left_s)
    if not status.known:
        return None
    limit = None if status.participants <= _NAMED_MAX else _NAMED_OF_MORE
    participants = client.members("participants", deadline.left_s, limit)
    lost = client.members("lost", deadline.left_s, limit) if status.lost else []
    addresses = expected.addresses(expected.missing(participants))[:_ADDRESSES_MAX]
    hosts = client.hosts(addresses, deadline.left_s) if addresses else []
    return Standing(
        role=status.role,
        rank=status.rank,
        round=status.round,
        world_size=status.world_size,
        participants=tuple(participants),
        participants_count=max(status.participants, len(participants)),
        is_complete=status.complete,
        waiting=status.waiting,
        spares=status.spares,
        lost=tuple(lost),
        last_call_left_s=status.last_call_left,
        look_again_s=None,
        hosts=dict(zip(addresses, hosts, strict=True)),
    )
