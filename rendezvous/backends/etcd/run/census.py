"""Who is in a run on etcd, for messages and for the end of a job.

Reads what is written, so that it needs no leader. Runs on whichever thread asks.
"""

from dataclasses import dataclass

from rendezvous import _core
from rendezvous._base.deadline import Deadline, now_s
from rendezvous._coordination.coordinator import Census, NodeSetup
from rendezvous._coordination.waiting import Standing
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.run.keys import RunKeys, Summary, leader_name, node_of
from rendezvous.backends.etcd.run.leader.leader import read_run

__all__ = ["Onlooking", "census_of", "look_at", "look_on"]

# All nodes of a round that does not come together ask who is there, at the same time: of very many,
# so many are named.
_NAMED_MAX = 128


def census_of(client: EtcdClient, keys: RunKeys, deadline: Deadline) -> Census:
    """Everybody, by name. Raises RendezvousStateError, StoreErrors."""
    group = read_run(client, keys, deadline).book(keys, now_s()).group
    return Census(
        participants=tuple(group.participants),
        lost=tuple(group.lost),
        waiting=tuple(group.waiting),
        spares=tuple(group.spares),
    )


@dataclass(frozen=True)
class Onlooking:
    """A run as it was published last, for somebody who takes no part.

    Attributes:
        leader: None: nobody leads just now.
        asking: nodes that have written what they want since, and have no answer yet.
        last_call_left_s: at the time of the publication; None: no last call runs.
    """

    group: _core.Group
    leader: _core.Node | None
    asking: tuple[_core.Node, ...]
    last_call_left_s: float | None


def look_on(client: EtcdClient, keys: RunKeys, deadline: Deadline) -> Onlooking | None:
    """None if nothing is written of the run. Raises as `census_of`."""
    reading = read_run(client, keys, deadline)
    summary = reading.summary or Summary()
    if reading.summary is None and not reading.inbox:
        return None
    group = _core.Group()
    if reading.state is not None:
        group.observe(reading.state, now_s())
    names = (keys.name_of(kv.key) for kv in reading.inbox if kv.mod_revision > summary.applied)
    return Onlooking(
        group,
        None if reading.leader is None else node_of(leader_name(reading.leader)),
        tuple(sorted(node_of(name) for name in names if name is not None)),
        summary.last_call,
    )


def look_at(
    client: EtcdClient,
    keys: RunKeys,
    setup: NodeSetup,
    summary: Summary | None,
    deadline: Deadline,
) -> Standing:
    """What a node that joins tells of the run; one small read, however many nodes there are.

    summary: what the node heard last. Raises as `census_of`.
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
    return Standing(
        role=role,
        rank=-1,
        round=summary.round,
        world_size=summary.placed_world if summary.complete else 0,
        participants=nodes,
        participants_count=count,
        is_complete=summary.complete,
        waiting=summary.waiting,
        spares=summary.spares,
        lost=(),
        last_call_left_s=summary.last_call,
        look_again_s=None,
    )
