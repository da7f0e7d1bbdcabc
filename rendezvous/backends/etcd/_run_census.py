"""Who is in a run on etcd, for messages and for the end of a job.

Reads what is written, so that it needs no leader. Runs on whichever thread asks.
"""

import time
from dataclasses import dataclass

from rendezvous import _core
from rendezvous._coordinator import Census, NodeSetup
from rendezvous._waiting import Standing
from rendezvous.backends.etcd._deadline import Deadline
from rendezvous.backends.etcd._run_keys import RunKeys, Summary, leader_name, node_of
from rendezvous.backends.etcd._run_leader import read_run
from rendezvous.backends.etcd.client import EtcdClient

__all__ = ["Onlooking", "census_of", "look_at", "look_on"]

# All nodes of a round that does not come together ask who is there, at the same time: of very many,
# so many are named.
_NAMED_MAX = 128


def census_of(client: EtcdClient, keys: RunKeys, deadline: Deadline) -> Census:
    """Everybody, by name. Raises RendezvousStateError, StoreErrors."""
    group = read_run(client, keys, deadline).book(keys, time.monotonic()).group
    return Census(
        participants=tuple(group.participants),
        lost=tuple(group.lost),
        waiting=tuple(group.waiting),
        spares=tuple(group.spares),
    )


@dataclass(frozen=True)
class Onlooking:
    """A run as somebody sees it who takes no part. leader: None: nobody leads just now."""

    group: _core.Group
    leader: _core.Node | None


def look_on(client: EtcdClient, keys: RunKeys, deadline: Deadline) -> Onlooking | None:
    """What is written of the run, None if nothing is. Raises as `census_of`."""
    reading = read_run(client, keys, deadline)
    if reading.summary is None and not reading.inbox:
        return None
    found = client.range(keys.leader, deadline=deadline).first
    leader = None if found is None else node_of(leader_name(found.value))
    return Onlooking(reading.book(keys, time.monotonic()).group, leader)


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
