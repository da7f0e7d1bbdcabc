"""A node's place in a run on etcd: when it is lost, and when it only looks so."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.background import Background, eventually
from support.etcd import Cluster

from rendezvous import RendezvousError, _core
from rendezvous._base.deadline import Deadline
from rendezvous._base.join_time import JoinTime
from rendezvous._coordination.coordinator import NodeSetup
from rendezvous.backends.etcd import EtcdClient
from rendezvous.backends.etcd.client.lease import KeptLease
from rendezvous.backends.etcd.client.wire import TxnResult
from rendezvous.backends.etcd.run.keys import RunKeys, node_name
from rendezvous.backends.etcd.run.place import Place
from rendezvous.backends.etcd.run.run import EtcdRun

RUN = "run-7"
NODE = _core.Node("host", 7, 0)
SETUP = NodeSetup(RUN, NODE, _core.GroupSettings(2, 2, 3600.0, 3600.0, 3), 60.0, "etcd")


class Watched(EtcdClient):
    """Calls somebody before its transactions are sent."""

    before: Callable[[], object] = staticmethod(lambda: None)

    def txn(self, *words: Any, **options: Any) -> TxnResult:
        self.before()
        return super().txn(*words, **options)


def soon() -> Deadline:
    return Deadline.after(60)


@pytest.fixture
def watched(single: Cluster, transport: str) -> Iterator[Watched]:
    client = Watched(single.endpoints, tls=single.tls, transport=transport)
    yield client
    client.close()


@pytest.fixture
def keys() -> RunKeys:
    return RunKeys(f"tests/{uuid.uuid4().hex}", RUN)


@pytest.fixture
def place(watched: Watched, keys: RunKeys) -> Place:
    return Place(watched, keys, SETUP, KeptLease(watched, 3600))


def look(place: Place) -> str:
    """What another thread finds."""
    return Background(place.keep, True, soon()).result()


def test_a_key_that_is_being_written_is_not_lost(watched: Watched, place: Place) -> None:
    """The lease is there before the key; a look between them takes nothing away."""
    found = []
    watched.before = lambda: found.append(look(place))
    place.ask_to_join(0, soon())
    watched.before = lambda: None
    assert found
    assert set(found) == {"kept"}
    assert place.lease
    assert look(place) == "kept"


def test_a_key_that_is_deleted_is_lost(watched: Watched, place: Place, keys: RunKeys) -> None:
    """Its place is asked for anew, with another lease; meanwhile nothing is lost again."""
    place.ask_to_join(0, soon())
    lease = place.lease
    watched.delete(keys.node(place.name))
    assert place.keep(False, soon()) == "kept"
    assert look(place) == "key lost"
    assert place.lease == 0
    watched.before = lambda: found.append(look(place))
    found: list[str] = []
    place.ask_to_join(0, soon())
    assert set(found) == {"kept"}
    assert place.lease not in (0, lease)


def test_a_loss_that_comes_beside_a_write_is_not_missed(watched: Watched, keys: RunKeys) -> None:
    """It may be what was written that is lost: it is written once more."""
    run = EtcdRun(watched, keys, SETUP, KeptLease(watched, 3600))
    reader = EtcdClient(watched.endpoints)
    losses = [run._news.note_loss]
    watched.before = lambda: losses.pop()() if losses else None
    run.start()
    joining = Background(run.join, 0, JoinTime(soon(), 60, 60))
    own = keys.node(node_name(NODE))

    with reader.watch([(own, b"")], 1) as writes:
        seen: list[object] = []

        def has_asked_twice() -> bool:
            seen.extend(writes.next(Deadline.after(0.1)))
            return len(seen) >= 2

        eventually("the node has asked twice", has_asked_twice)
    run.ask_to_stop()
    with pytest.raises(RendezvousError, match="told to leave"):
        joining.result()
    reader.close()
