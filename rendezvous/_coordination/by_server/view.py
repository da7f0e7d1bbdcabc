"""The nodes in a run that the store's server keeps: for messages, for a job's end, for observers.

Pure except for its requests; runs on the caller's thread.
"""

from dataclasses import replace
from typing import Literal, TypeAlias

from rendezvous import _core
from rendezvous._base.deadline import Deadline
from rendezvous._coordination.expected import Expected
from rendezvous._coordination.run_view import Counts, NodeKey, RunView, key_of

__all__ = ["view_of_all", "view_of_changes", "view_of_joiner", "view_of_onlooker"]

_List: TypeAlias = Literal["participants", "waiting", "spares", "lost"]
_LISTS: tuple[_List, ...] = ("participants", "waiting", "spares", "lost")

# All nodes of a round that does not come together ask who is there, at the same time: the names of
# very many are cut, or the answers would be the square of their number.
_NAMED_MAX = 1_024
_NAMED_OF_MORE = 128
_CHANGED_MAX = 16
# Of one request for which of them have connected.
_ADDRESSES_MAX = 1_000
# A run that changes each time between two requests is shown as it was seen last.
_LOOKS_MAX = 5


def view_of_all(client: _core.RunClient, deadline: Deadline) -> RunView:
    """Everybody, by name."""
    return _view(client, client.status(deadline.left_s), _LISTS, deadline)


def view_of_changes(client: _core.RunClient, deadline: Deadline) -> RunView:
    """The lost ones and those that wait; of many, some by name: all nodes may ask at once."""
    status = client.status(deadline.left_s)
    return _view(client, status, ("waiting", "lost"), deadline, _CHANGED_MAX)


def view_of_joiner(
    client: _core.RunClient, expected: Expected, deadline: Deadline
) -> RunView | None:
    """What a joining node reports of the run; None if the server has no such run."""
    status = client.status(deadline.left_s)
    if not status.known:
        return None
    limit = None if status.participants <= _NAMED_MAX else _NAMED_OF_MORE
    view = _view(client, status, ("participants", "lost"), deadline, limit)
    addresses = expected.addresses(expected.missing(view.participants))[:_ADDRESSES_MAX]
    if not addresses:
        return view
    hosts = client.hosts(addresses, deadline.left_s)
    return replace(view, hosts=dict(zip(addresses, hosts, strict=True)))


def view_of_onlooker(
    client: _core.RunClient, deadline: Deadline, limit: int | None
) -> RunView | None:
    """With the participants' ranks, and when each node was heard; all at one moment.

    None if the server has no such run.

    Args:
        limit: how many nodes of each list to ask for; None: all.
    """
    status = client.status(deadline.left_s)
    view = None
    for _ in range(_LOOKS_MAX):
        if not status.known:
            return None
        view = _view(client, status, _LISTS, deadline, limit, is_onlooker=True)
        before, status = status, client.status(deadline.left_s)
        if _outline(status) == _outline(before):
            break
    return view


def _outline(status: _core.RunStatus) -> tuple[object, ...]:
    counts = (status.participants, status.waiting, status.spares, status.lost)
    return status.known, status.round, status.complete, status.closed, status.failed, counts


def _view(
    client: _core.RunClient,
    status: _core.RunStatus,
    lists: tuple[_List, ...],
    deadline: Deadline,
    limit: int | None = None,
    *,
    is_onlooker: bool = False,
) -> RunView:
    """With the nodes of these lists, which are read unless they are empty.

    Args:
        is_onlooker: also with the participants' ranks, and how long ago each node was heard.
    """
    ranks: list[int] = []
    silence_s: dict[NodeKey, float] = {}

    def nodes(which: _List, count: int) -> tuple[_core.Node, ...]:
        if not count or which not in lists:
            return ()
        members = client.members(which, deadline.left_s, limit)
        if is_onlooker:
            if which == "participants":
                ranks.extend(rank for rank, _, _ in members)
            silence_s.update(
                (key_of(node), silent_s) for _, node, silent_s in members if silent_s is not None
            )
        return tuple(node for _, node, _ in members)

    participants = nodes("participants", status.participants)
    return RunView(
        "server",
        status.round,
        complete=status.complete,
        closed=status.closed,
        failed=status.failed,
        finished_round=status.finished_round,
        world_size=status.world_size,
        settings=status.settings,
        participants=participants,
        ranks=tuple(ranks),
        waiting=nodes("waiting", status.waiting),
        spares=nodes("spares", status.spares),
        lost=nodes("lost", status.lost),
        counts=Counts(
            max(status.participants, len(participants)), status.waiting, status.spares, status.lost
        ),
        last_call_left_s=status.last_call_left,
        role=status.role,
        rank=status.rank,
        suspects=status.suspects,
        cause=status.cause,
        close_reason=status.close_reason,
        silence_s=silence_s,
    )
