"""Who is in a run on etcd: for messages, for a job's end, for onlookers.

Reads what is written, so that it needs no leader. Runs on whichever thread asks.
"""

from dataclasses import replace

from rendezvous import _core
from rendezvous._base.deadline import Deadline, now_s
from rendezvous._coordination.coordinator import NodeSetup
from rendezvous._coordination.run_view import Counts, RunView, view_of_group
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.run.keys import RunKeys, Summary, leader_name, node_of
from rendezvous.backends.etcd.run.leader.leader import read_run

__all__ = ["read_group", "view_of_joiner", "view_of_onlooker"]

# All nodes of a round that does not come together ask who is there, at the same time: of very many,
# so many are named.
_NAMED_MAX = 128


def read_group(client: EtcdClient, keys: RunKeys, deadline: Deadline) -> _core.Group:
    """With everything that nodes wrote up to now. Raises RendezvousStateError, StoreErrors."""
    return read_run(client, keys, deadline).book(keys, now_s()).group


def view_of_onlooker(
    client: EtcdClient, keys: RunKeys, deadline: Deadline, limit: int | None
) -> RunView | None:
    """As it was published last; None if nothing is written of the run. Raises as `read_group`.

    last_call_left_s is of the time of the publication.
    """
    reading = read_run(client, keys, deadline)
    if reading.summary is None and not reading.inbox:
        return None
    summary = reading.summary or Summary()
    group = _core.Group()
    if reading.state is not None:
        group.observe(reading.state, now_s())
    names = (keys.name_of(kv.key) for kv in reading.inbox if kv.mod_revision > summary.applied)
    asking = sorted(node_of(name) for name in names if name is not None)
    view = view_of_group(group, now_s(), "leader", limit=limit)
    return replace(
        view,
        leader=None if reading.leader is None else node_of(leader_name(reading.leader)),
        asking=tuple(asking[:limit]),
        counts=replace(view.counts, asking=len(asking)),
        last_call_left_s=summary.last_call,
    )


def view_of_joiner(
    client: EtcdClient,
    keys: RunKeys,
    setup: NodeSetup,
    summary: Summary | None,
    deadline: Deadline,
) -> RunView:
    """What a node that joins tells of the run; one small read, however many nodes there are, unless
    one that it expects may be among the lost ones.

    summary: what the node heard last. Raises as `read_group`.
    """
    found = client.range(*keys.nodes, limit=_NAMED_MAX, keys_only=True, deadline=deadline)
    names = (keys.name_of(kv.key) for kv in found.kvs)
    nodes = tuple(sorted(node_of(name) for name in names if name is not None))
    summary = summary or Summary()
    count, role = found.count, "forming"
    if summary.complete:
        is_full = summary.active + summary.waiting >= setup.settings.max_nodes
        role = "spare" if is_full and summary.spares else "waiting"
        count = summary.active
        nodes = tuple(node for node in nodes if node != setup.node)[:count]
    lost: tuple[_core.Node, ...] = ()
    if setup.expected and summary.lost:
        lost = tuple(read_group(client, keys, deadline).lost)
    return RunView(
        "leader",
        summary.round,
        complete=summary.complete,
        closed=summary.closed,
        finished_round=summary.finished_round,
        world_size=summary.placed_world if summary.complete else 0,
        participants=nodes,
        lost=lost,
        counts=Counts(count, summary.waiting, summary.spares, summary.lost),
        last_call_left_s=summary.last_call,
        role=role,
    )
