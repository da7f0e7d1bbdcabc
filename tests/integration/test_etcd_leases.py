"""What handlers leave behind in etcd: leases that guard nothing are revoked.

Counted at an etcd of the test's own, by all leases that it knows.
"""

from __future__ import annotations

import base64
import gc
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from handler_support import join_all, joining
from support.etcd import NO_ETCD, Cluster, binaries

from rendezvous import (
    DynamicRendezvousHandler,
    RendezvousError,
    RendezvousParameters,
    get_rendezvous_handler,
)

_NODES = 4
# So long that no lease runs out in any of these tests: what is gone was revoked.
_INTERVAL_S = 3600


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if not binaries():
        pytest.skip(NO_ETCD)
    with Cluster(binaries()[-1], 1) as cluster:
        yield cluster


def _nodes(cluster: Cluster, run_id: str, **config: object) -> list[DynamicRendezvousHandler]:
    found = []
    for _ in range(_NODES):
        parameters = RendezvousParameters(
            "etcd",
            cluster.endpoints,
            run_id,
            _NODES,
            _NODES,
            "127.0.0.1",
            close_timeout=30,
            keep_alive_interval=_INTERVAL_S,
            **config,
        )
        handler = get_rendezvous_handler(parameters)
        assert isinstance(handler, DynamicRendezvousHandler)
        found.append(handler)
    return found


def _leases(cluster: Cluster) -> dict[int, list[str]]:
    """All that etcd knows, and the keys that they guard."""
    found = {}
    for entry in cluster.admin("lease/leases").get("leases", ()):
        answer = cluster.admin("lease/timetolive", ID=entry["ID"], keys=True)
        if int(answer.get("TTL", -1)) >= 0:
            keys = [base64.b64decode(key).decode() for key in answer.get("keys", ())]
            found[int(entry["ID"])] = keys
    return found


def _finish(handlers: list[DynamicRendezvousHandler]) -> None:
    infos = join_all(handlers)
    for info in infos:
        info.store.set(f"of {info.rank}", "")


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


@pytest.mark.parametrize("rulebook", ["auto", "store"])
@pytest.mark.parametrize("end", [_finish, _fail, _give_up, _close, _interrupt, _time_out])
def test_handlers_leave_one_lease_however_they_end(
    cluster: Cluster, end: Callable[[list[DynamicRendezvousHandler]], None], rulebook: str
) -> None:
    """That of what a later node of the run is to read."""
    join_s = 2 if end is _time_out else 60
    for attempt in range(10):
        before = _leases(cluster)
        run_id = f"{end.__name__}-{rulebook}-{attempt}"
        handlers = _nodes(cluster, run_id, join_timeout=join_s, rulebook=rulebook)
        end(handlers)
        told = [handler.shutdown() for handler in handlers]
        if all(told):
            break
        # At the deadline of a join, etcd may have been too slow to be told anything.
        assert end is _time_out
    else:
        pytest.fail("at no deadline could etcd be told anything")

    left = [keys for lease, keys in _leases(cluster).items() if lease not in before]
    assert len(left) <= 1, left
    assert all(left), "it guards nothing"


@pytest.mark.parametrize("rulebook", ["auto", "store"])
def test_handlers_that_are_dropped_leave_no_lease_that_guards_nothing(
    cluster: Cluster, rulebook: str
) -> None:
    """Nobody can tell etcd that they went."""
    before = _leases(cluster)
    handlers = _nodes(cluster, f"dropped-{rulebook}", rulebook=rulebook)
    join_all(handlers)
    handlers.clear()
    gc.collect()
    left = [keys for lease, keys in _leases(cluster).items() if lease not in before]
    assert left
    assert all(left), left
