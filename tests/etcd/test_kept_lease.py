"""Leases that outlive their writers: taken over by who writes next, revoked if nothing was written;
and the records of a store's writers, ended when nobody writes.
"""

from __future__ import annotations

import os
from typing import Any

from support.background import Background
from support.etcd import Cluster

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd import EtcdClient, EtcdStore
from rendezvous.backends.etcd.client.lease import KeptLease

_TTL_S = 1000
_RECORDS = b"/test/kept/sessions/"


def soon() -> Deadline:
    return Deadline.after(60)


def is_there(single: Cluster, lease: int) -> bool:
    return int(single.admin("lease/timetolive", ID=str(lease)).get("TTL", -1)) > 0


def records(client: EtcdClient) -> int:
    return client.range(_RECORDS, _RECORDS[:-1] + b"0", count_only=True).count


def test_a_lease_that_is_adopted_is_renewed_and_used(client: EtcdClient) -> None:
    """No other one is granted."""
    lease, _ = client.grant_lease(_TTL_S)
    kept = KeptLease(client, _TTL_S)
    kept.adopt(lease)
    assert kept.get(soon()) == lease


def test_a_lease_that_is_gone_or_too_short_is_not_used(client: EtcdClient) -> None:
    """What is written shall last for as long as this writer promises."""
    gone, _ = client.grant_lease(_TTL_S)
    client.revoke_lease(gone)
    short, _ = client.grant_lease(_TTL_S - 1)
    for lease in (gone, short):
        kept = KeptLease(client, _TTL_S)
        kept.adopt(lease)
        assert kept.renew(soon()) == 0
        assert kept.get(soon()) not in (0, lease)


def test_a_known_lease_is_not_exchanged_for_another(client: EtcdClient) -> None:
    """Who reads what was published before knows better already."""
    kept = KeptLease(client, _TTL_S)
    lease = kept.get(soon())
    kept.adopt(lease + 1)
    assert kept.current == lease


def test_a_lease_with_which_nothing_was_written_is_revoked(
    client: EtcdClient, single: Cluster
) -> None:
    """When its first write was refused; the next write has another one."""
    kept = KeptLease(client, _TTL_S)
    lease = kept.get(soon())
    kept.give_back(lease, soon())
    assert not is_there(single, lease)
    assert kept.get(soon()) not in (0, lease)


def test_a_lease_that_may_guard_something_is_not_revoked(
    client: EtcdClient, single: Cluster
) -> None:
    """Another write has it, or the one that was refused had been done, or it is another one's."""
    lent_twice = KeptLease(client, _TTL_S)
    lease = lent_twice.get(soon())
    assert lent_twice.get(soon()) == lease
    lent_twice.give_back(lease, soon())
    assert is_there(single, lease)

    written = KeptLease(client, _TTL_S)
    lease = written.get(soon())
    client.put(b"k", b"v", lease=lease)
    written.give_back(lease, soon())
    assert client.range(b"k").kvs

    lease, _ = client.grant_lease(_TTL_S)
    adopted = KeptLease(client, _TTL_S)
    adopted.adopt(lease)
    adopted.give_back(adopted.get(soon()), soon())
    assert is_there(single, lease)


def test_records_go_when_nobody_writes_and_come_back(client: EtcdClient) -> None:
    """What was written stays."""
    store = EtcdStore(client, "/test/kept", 60)
    assert store.add("n", 1) == 1
    assert records(client) == 1
    store.release(soon())
    assert records(client) == 0
    assert store.add("n", 1) == 2
    assert records(client) == 1


def test_a_write_under_way_keeps_its_record(client: EtcdClient) -> None:
    """Sent again as its answer was lost, it is done once."""
    store = EtcdStore(client, "/test/kept", 60)
    txn = client.txn
    begun = []

    def twice(*args: Any, **options: Any) -> Any:
        txn(*args, **options)
        client.txn = txn  # type: ignore[method-assign]
        begun.append(Background(store.release, soon()))
        begun[-1].result()
        return txn(*args, **options)

    client.txn = twice  # type: ignore[method-assign]
    assert store.add("n", 1) == 1
    assert begun
    assert store.get("n") == b"1"
    assert records(client) == 1


def test_a_fork_has_a_lease_of_its_own(client: EtcdClient) -> None:
    """Its parent may end its records, and not the child's."""
    store = EtcdStore(client, "/test/kept", 60)
    store.add("n", 1)
    child = os.fork()
    if child == 0:
        try:
            store.add("n", 1)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert records(client) == 2
    store.release(soon())
    assert records(client) == 1
    assert store.get("n") == b"2"
