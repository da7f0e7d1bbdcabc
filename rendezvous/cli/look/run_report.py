"""Who is in a run, asked as an onlooker: nothing is joined, created or changed.

Knows the ways in which a run may be kept, by the server, by a node that the others elect over etcd,
or by all nodes through compare-and-set, and gives one report for all. Knows no command line and
prints nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from rendezvous import _core
from rendezvous._base.deadline import Deadline, now_s
from rendezvous._base.errors import RendezvousStateError
from rendezvous.backends.c10d import decode_state, state_key, stored_text

if TYPE_CHECKING:
    from rendezvous.backends.etcd import EtcdClient

__all__ = ["RunReport", "look_at_etcd_run", "look_at_run"]

# A run that changes each time between two requests is reported as it was seen last.
_LOOKS_MAX = 5


@dataclass(frozen=True)
class RunReport:
    """A run at one moment.

    Attributes:
        kept_by: `server`; `leader` for a node that the others elected; `store` for nodes that keep
            it by compare-and-set.
        leader: the node that was elected; None: nobody is just now, or nobody ever is.
        finished_round: the last round that every participant left as done; 0: none.
        world_size: of the complete round, nodes that are gone included; 0 while it forms.
        settings: None before the first node has joined.
        participants: rank and node, by rank; the rank is -1 while the round forms. Like the lists
            below, cut where the caller set a limit.
        counts: how many there are of each list, cut or not.
        asking: over etcd, nodes that want something and have no answer of the leader yet.
        last_call_left_s: None where no last call runs. Where nodes keep the run it is the most it
            can be: nobody but they knows when it began.
    """

    run_id: str
    kept_by: Literal["server", "leader", "store"]
    round: int
    complete: bool
    closed: bool
    finished_round: int
    world_size: int
    settings: _core.GroupSettings | None
    participants: tuple[tuple[int, _core.Node], ...]
    waiting: tuple[_core.Node, ...]
    spares: tuple[_core.Node, ...]
    lost: tuple[_core.Node, ...]
    counts: dict[str, int]
    last_call_left_s: float | None
    leader: _core.Node | None = None
    asking: tuple[_core.Node, ...] = ()


def look_at_run(
    store: _core.TCPStore, run_id: str, deadline: Deadline, limit: int | None
) -> RunReport | None:
    """The run, or None if the server at the other end knows no such run.

    Args:
        limit: how many nodes of each list to ask for; None: all.

    Raises StoreError, and RendezvousStateError where the run's key holds something else.
    """
    onlooker = _core.Node("onlooker", 0, 0)
    client = _core.RunClient(store, run_id, onlooker, _core.GroupSettings(1, 1), 0)
    try:
        for _ in range(_LOOKS_MAX):
            report = _from_server(client, run_id, deadline, limit)
            if report is not None:
                return report
            store.set_timeout(deadline.left_s)
            text = stored_text(store, run_id)
            if text != _core.RUN_MARKER:
                return None if text is None else _from_state(run_id, text, limit)
            # The server has taken the run since it was asked.
        raise RendezvousStateError(
            f"run {run_id!r}: its key says that the server keeps it, but the server does not know "
            "it; delete that key, or use another run id"
        )
    finally:
        client.close()


def _from_server(
    client: _core.RunClient, run_id: str, deadline: Deadline, limit: int | None
) -> RunReport | None:
    before = client.status(deadline.left_s)
    for _ in range(_LOOKS_MAX):
        if not before.known:
            return None
        participants = client.ranks(deadline.left_s, limit)
        waiting = client.members("waiting", deadline.left_s, limit) if before.waiting else []
        spares = client.members("spares", deadline.left_s, limit) if before.spares else []
        lost = client.members("lost", deadline.left_s, limit) if before.lost else []
        status = client.status(deadline.left_s)
        is_still = _outline(status) == _outline(before)
        before = status
        if is_still:
            break
    return RunReport(
        run_id=run_id,
        kept_by="server",
        round=before.round,
        complete=before.complete,
        closed=before.closed,
        finished_round=before.finished_round,
        world_size=before.world_size,
        settings=before.settings,
        participants=tuple(participants),
        waiting=tuple(waiting),
        spares=tuple(spares),
        lost=tuple(lost),
        counts={
            "participants": before.participants,
            "waiting": before.waiting,
            "spares": before.spares,
            "lost": before.lost,
        },
        last_call_left_s=before.last_call_left,
    )


def _outline(status: _core.RunStatus) -> tuple[object, ...]:
    counts = (status.participants, status.waiting, status.spares, status.lost)
    return status.known, status.round, status.complete, counts


def look_at_etcd_run(
    client: EtcdClient, key_prefix: str | None, run_id: str, deadline: Deadline, limit: int | None
) -> RunReport | None:
    """As `look_at_run`, over etcd. key_prefix: None, or empty, for the default."""
    # Only who looks at etcd pays for importing its client.
    from rendezvous.backends.etcd import EtcdRendezvousBackend
    from rendezvous.backends.etcd.backend import DEFAULT_KEY_PREFIX
    from rendezvous.backends.etcd.run.census import look_on
    from rendezvous.backends.etcd.run.keys import RunKeys

    key_prefix = key_prefix or DEFAULT_KEY_PREFIX
    keys = RunKeys(key_prefix, run_id)
    seen = look_on(client, keys, deadline)
    if seen is not None:
        report = _from_group(run_id, seen.group, "leader", limit)
        return replace(
            report,
            leader=seen.leader,
            asking=seen.asking[:limit],
            counts=report.counts | {"asking": len(seen.asking)},
            last_call_left_s=seen.last_call_left_s,
        )
    backend = EtcdRendezvousBackend(client, run_id, key_prefix)
    backend.set_timeout(deadline.left_s)
    found = backend.get_state()
    if found is None:
        return None
    group = _core.Group()
    group.observe(found[0], now_s())
    return _from_group(run_id, group, "store", limit)


def _from_state(run_id: str, text: str, limit: int | None) -> RunReport:
    group = _core.Group()
    try:
        group.observe(decode_state(state_key(run_id), text), now_s())
    except RendezvousStateError as error:
        raise RendezvousStateError(f"run {run_id!r}: {error}") from error
    return _from_group(run_id, group, "store", limit)


def _from_group(
    run_id: str,
    group: _core.Group,
    kept_by: Literal["leader", "store"],
    limit: int | None,
) -> RunReport:
    participants = [(group.placement(node).rank, node) for node in group.participants[:limit]]
    return RunReport(
        run_id=run_id,
        kept_by=kept_by,
        round=group.round,
        complete=group.complete,
        closed=group.closed,
        finished_round=group.finished_round,
        world_size=group.world_size,
        settings=group.settings,
        participants=tuple(participants),
        waiting=tuple(group.waiting[:limit]),
        spares=tuple(group.spares[:limit]),
        lost=tuple(group.lost[:limit]),
        counts={
            "participants": len(group.participants),
            "waiting": len(group.waiting),
            "spares": len(group.spares),
            "lost": len(group.lost),
        },
        last_call_left_s=group.last_call_left(now_s()),
    )
