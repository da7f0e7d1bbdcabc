"""Every operation of store and backend ends with its deadline, or has done what it was asked for.

A member that stands still, a network that swallows everything, a majority that is gone. As in
tests/integration/test_deadlines.py, nothing here sets an upper limit that a slow machine could
break: what would have blocked for ever fails at the backstop of Background.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.background import BACKSTOP_S, Background
from support.etcd import Cluster
from support.proxy import FaultProxy

from rendezvous import (
    RendezvousConnectionError,
    StoreError,
    StoreKeysMissingError,
    StoreNoAnswerError,
)
from rendezvous.backends.etcd import EtcdClient, EtcdRendezvousBackend, EtcdStore

TIMEOUT_S = 0.15
# What waits for nobody has the time of a round trip, however short the store's timeout is.
ROUND_TRIP_S = 1.0

Operation = Callable[[EtcdStore], object]
WAITS: dict[str, Operation] = {
    "get": lambda store: store.get("missing"),
    "wait": lambda store: store.wait(["missing"]),
    "multi_get": lambda store: store.multi_get(["k", "missing"]),
    "watch": lambda store: store.watch("missing", 0),
}
# What adds to a number, or to a queue, first does that, for which it has the longer time.
OTHERS: dict[str, Operation] = {
    "queue_pop": lambda store: store.queue_pop("empty"),
    "barrier": lambda store: store.barrier("b", 2),
    "exchange": lambda store: store.exchange("x", 0, 2, "v"),
    "try_get": lambda store: store.try_get("k"),
    "check": lambda store: store.check(["k"]),
    "num_keys": lambda store: store.num_keys(),
    "list_keys": lambda store: store.list_keys(),
    "queue_len": lambda store: store.queue_len("q"),
    "set": lambda store: store.set("s", "v"),
    "set ttl": lambda store: store.set("t", "v", ttl=1000),
    "add": lambda store: store.add("n", 1),
    "append": lambda store: store.append("a", "v"),
    "compare_set": lambda store: store.compare_set("c", "", "v"),
    "set_if_version": lambda store: store.set_if_version("i", "v", 0),
    "multi_set": lambda store: store.multi_set(["m0", "m1"], ["v", "v"]),
    "delete_key": lambda store: store.delete_key("d"),
    "delete_prefix": lambda store: store.delete_prefix("nothing"),
    "queue_push": lambda store: store.queue_push("q", "item"),
}


@contextmanager
def stopped(cluster: Cluster, proxy: FaultProxy) -> Iterator[None]:
    """The member that clients are with stands still, with their connections."""
    del proxy
    for member in cluster.members:
        member.pause()
    try:
        yield
    finally:
        for member in cluster.members:
            member.resume()


@contextmanager
def frozen(cluster: Cluster, proxy: FaultProxy) -> Iterator[None]:
    """Nothing comes through in either direction."""
    del cluster
    proxy.freeze()
    try:
        yield
    finally:
        proxy.thaw()


@contextmanager
def without_majority(cluster: Cluster, proxy: FaultProxy) -> Iterator[None]:
    """The member that clients are with lives, and can agree with nobody."""
    del proxy
    for member in cluster.members[1:]:
        member.kill()
    try:
        yield
    finally:
        for member in cluster.members[1:]:
            member.start()
        cluster.wait_ready()


FAULTS = {"stopped": (stopped, 1), "frozen": (frozen, 1), "no majority": (without_majority, 3)}


def fails(call: Background[Any], timeout_s: float) -> None:
    """It ended with an error of ours, and not before its time; nothing is said to be missing."""
    with pytest.raises((StoreError, RendezvousConnectionError)) as caught:
        call.result()
    assert not isinstance(caught.value, StoreKeysMissingError)
    assert call.elapsed_s >= timeout_s


@pytest.mark.parametrize("fault", FAULTS)
def test_every_operation_ends_with_its_deadline(binary: str, fault: str, transport: str) -> None:
    """All at once; afterwards each store works on, and no write was done more than once."""
    break_it, members = FAULTS[fault]
    with Cluster(binary, members) as cluster, FaultProxy(cluster.members[0].port) as proxy:

        def client() -> EtcdClient:
            return EtcdClient(f"127.0.0.1:{proxy.port}", transport=transport)

        stores = {name: EtcdStore(client(), "/deadlines", TIMEOUT_S) for name in WAITS | OTHERS}
        backend = EtcdRendezvousBackend(client(), "run")
        answer = backend.set_state(b"before")
        assert answer is not None
        backend.set_timeout(TIMEOUT_S)
        one = stores["set"]
        one.multi_set(["k", "d"], ["v", "v"])
        for store in stores.values():
            store.try_get("k")  # its connection is there
        with break_it(cluster, proxy):
            waits = [Background(call, stores[name]) for name, call in WAITS.items()]
            others = [Background(call, stores[name]) for name, call in OTHERS.items()]
            reading = Background(backend.get_state)
            writing = Background(backend.set_state, b"after", answer[1])
            ended: list[Background[Any]] = [*waits, reading, writing]
            for wait in ended:
                fails(wait, TIMEOUT_S)
            for other in others:
                fails(other, ROUND_TRIP_S)
        for store in stores.values():
            store.set_timeout(BACKSTOP_S)
        backend.set_timeout(BACKSTOP_S)
        # A write that was on its way is done now, or never: what comes through after it is later.
        for name, call in OTHERS.items():
            if name in ("set", "append", "add", "queue_push", "multi_set"):
                call(stores[name])
        assert one.get("n") in (b"1", b"2")
        assert one.get("a") in (b"v", b"vv")
        assert one.queue_len("q") in (1, 2)
        assert one.multi_get(["k", "s", "m0", "m1"]) == [b"v"] * 4
        state = backend.get_state()
        assert state is not None
        assert state[0] in (b"before", b"after")
        one.close()


@pytest.mark.parametrize("fault", ["stopped", "frozen"])
def test_what_waits_when_the_cluster_falls_silent_does_not_call_anything_missing(
    binary: str, fault: str, transport: str
) -> None:
    """A watch that says nothing is no answer: the keys may have come meanwhile."""
    break_it, members = FAULTS[fault]
    with Cluster(binary, members) as cluster, FaultProxy(cluster.members[0].port) as proxy:
        endpoint = f"127.0.0.1:{proxy.port}"
        names = [*WAITS, "queue_pop", "barrier", "exchange"]
        stores = {
            name: EtcdStore(EtcdClient(endpoint, transport=transport), "/s") for name in names
        }
        for store in stores.values():
            store.set("k", "v")
            store.set_timeout(2 * ROUND_TRIP_S)
        calls = [Background((WAITS | OTHERS)[name], store) for name, store in stores.items()]
        for call in calls:
            call.let_block()
        with break_it(cluster, proxy):
            for call in calls:
                with pytest.raises(StoreNoAnswerError, match="timeout"):
                    call.result()
