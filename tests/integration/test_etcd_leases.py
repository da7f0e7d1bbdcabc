"""What handlers leave behind in etcd: leases that guard nothing are revoked, or soon run out.

Counted at an etcd of the test's own, by all leases that it knows.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from handler_support import join_all, joining
from support.background import eventually
from support.etcd import NO_ETCD, Cluster, binaries

from rendezvous import (
    DynamicRendezvousHandler,
    RendezvousError,
    RendezvousParameters,
    get_rendezvous_handler,
)

# What runs out within a minute and a bit is nobody's burden.
_SHORT_S = 60
_NODES = 4


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if not binaries():
        pytest.skip(NO_ETCD)
    with Cluster(binaries()[-1], 1) as cluster:
        yield cluster


def _node(cluster: Cluster, run_id: str, nodes: int, **config: object) -> DynamicRendezvousHandler:
    handler = get_rendezvous_handler(
        RendezvousParameters(
            "etcd", cluster.endpoints, run_id, nodes, nodes, "127.0.0.1", close_timeout=30, **config
        )
    )
    assert isinstance(handler, DynamicRendezvousHandler)
    return handler


def _long_leases(cluster: Cluster) -> list[tuple[int, list[bytes]]]:
    """Those that would live for longer, and what they guard."""
    client = cluster.client()
    found = []
    for entry in cluster.admin("lease/leases").get("leases", ()):
        lease = int(entry["ID"])
        answer = cluster.admin("lease/timetolive", ID=str(lease), keys=True)
        if int(answer.get("grantedTTL", 0)) > _SHORT_S:
            found.append((lease, answer.get("keys", [])))
    client.close()
    return found


def _finish(handlers: list[DynamicRendezvousHandler]) -> None:
    infos = join_all(handlers)
    for info in infos:
        info.store.set(f"of {info.rank}", b"")


def _fail(handlers: list[DynamicRendezvousHandler]) -> None:
    _finish(handlers)
    for handler in handlers:
        handler.leave(failed=True)


def _give_up(handlers: list[DynamicRendezvousHandler]) -> None:
    _finish(handlers)
    for handler in handlers:
        handler.give_up(1, "gone")


def _close(handlers: list[DynamicRendezvousHandler]) -> None:
    _finish(handlers)
    handlers[0].set_closed()


def _interrupt(handlers: list[DynamicRendezvousHandler]) -> None:
    calls = [joining(handler) for handler in handlers[1:]]
    for call in calls:
        call.let_block()
    for handler, call in zip(handlers[1:], calls, strict=True):
        with suppress(RendezvousError):
            handler.cancel(30.0)
        with pytest.raises(RendezvousError):
            call.result()


def _time_out(handlers: list[DynamicRendezvousHandler]) -> None:
    for call in [joining(handler) for handler in handlers[1:]]:
        with pytest.raises(RendezvousError):
            call.result()


@pytest.mark.parametrize("end", [_finish, _fail, _give_up, _close, _interrupt, _time_out])
def test_leases_that_guard_nothing_go_with_their_handlers(
    cluster: Cluster, end: Callable[[list[DynamicRendezvousHandler]], None]
) -> None:
    """However they end; what is left is what a later node of the run is to read."""
    before = {lease for lease, _ in _long_leases(cluster)}
    join_s = 2 if end is _time_out else 60
    handlers = [_node(cluster, end.__name__, _NODES, join_timeout=join_s) for _ in range(_NODES)]
    end(handlers)
    for handler in handlers:
        handler.shutdown()

    def left() -> list[tuple[int, list[bytes]]]:
        return [each for each in _long_leases(cluster) if each[0] not in before]

    eventually("all guard something", lambda: all(keys for _, keys in left()))
    assert len(left()) <= 2, left()


def test_handlers_that_are_dropped_leave_what_runs_out(cluster: Cluster) -> None:
    """Nobody can tell etcd: their leases are short, but of what is published and of writers."""
    before = {lease for lease, _ in _long_leases(cluster)}
    handlers = [_node(cluster, "dropped", _NODES) for _ in range(_NODES)]
    join_all(handlers)
    handlers.clear()
    gc.collect()
    left = [each for each in _long_leases(cluster) if each[0] not in before]
    assert all(keys for _, keys in left), left
