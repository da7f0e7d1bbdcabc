"""How long a spare waits: not by the join timeout, but to the end of the job, or its own timeout.

Each way of keeping a run: by the store's server, by the nodes, by a leader over etcd.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from handler_support import EtcdRun, Run, join_all, joining, run_kept_by
from support.background import Background, eventually
from support.etcd import etcd_proxy
from support.proxy import FaultProxy

from rendezvous import (
    DynamicRendezvousHandler,
    RendezvousFinishedError,
    RendezvousInfo,
    RendezvousRules,
    RendezvousTimeoutError,
    Server,
    TCPStore,
)
from rendezvous._base.deadline import Deadline
from rendezvous._base.join_time import JoinTime

# Long enough for a busy machine to become a spare in; what is tested then takes a multiple.
_JOIN_S = 3.0


@pytest.fixture(params=["server", "store", "etcd"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    if request.param == "etcd":
        over_etcd = EtcdRun(request.getfixturevalue("etcd_endpoint"))
        yield over_etcd
        over_etcd.shutdown()
        return
    with run_kept_by(request.param, request) as run:
        yield run


def _spare(run: Run, **options: Any) -> tuple[DynamicRendezvousHandler, Background[RendezvousInfo]]:
    spare = run.node(2, **options)
    waiting = joining(spare)
    eventually("a spare", lambda: len(run.look().spares) == 1)
    return spare, waiting


def _after(seconds: float) -> None:
    """The time is what is tested."""
    time.sleep(seconds)


def test_a_spare_outlives_its_join_timeout_and_gets_a_place(run: Run) -> None:
    """It steps in for a node that fails long afterwards."""
    members = run.nodes(2, 2)
    join_all(members)
    _, waiting = _spare(run, join_s=_JOIN_S)
    _after(1.5 * _JOIN_S)
    assert waiting.running
    assert len(run.look().spares) == 1
    members[1].leave(failed=True)
    eventually("told", lambda: members[0].num_nodes_waiting() > 0)
    infos = [members[0].next_rendezvous(), waiting.result()]
    assert {(info.round, info.world_size) for info in infos} == {(2, 2)}


def test_a_spare_ends_with_the_job(run: Run) -> None:
    """However long that took."""
    members = run.nodes(2, 2)
    join_all(members)
    _, waiting = _spare(run, join_s=_JOIN_S)
    _after(1.5 * _JOIN_S)
    for member in members:
        member.leave()
    with pytest.raises(RendezvousFinishedError, match="finished"):
        waiting.result()


def test_a_spare_timeout_ends_it(run: Run) -> None:
    """And says so; the node is listed no more."""
    join_all(run.nodes(2, 2))
    _, waiting = _spare(run, spare_s=2.0)
    with pytest.raises(
        RendezvousTimeoutError, match=r"round 1 .* within 2 s; .* is a spare.*raise spare_timeout"
    ):
        waiting.result()
    assert waiting.elapsed_s >= 2.0
    assert run.look().spares == []


def test_who_is_a_spare_no_more_has_the_whole_join_timeout(run: Run) -> None:
    """The others may take their time to come, and if nobody does, it ends after just that."""
    # Nobody's place is kept.
    rules = RendezvousRules(former_first=False)
    members = run.nodes(2, 2, rules=rules)
    join_all(members)
    _, waiting = _spare(run, join_s=_JOIN_S, rules=rules)
    _after(1.2 * _JOIN_S)
    begin = time.monotonic()
    members[1].leave(failed=True)
    with pytest.raises(
        RendezvousTimeoutError, match=r"waits for the next round.*raise join_timeout"
    ):
        waiting.result()
    assert time.monotonic() - begin >= _JOIN_S
    assert run.look().waiting == []


def test_a_late_joiner_is_no_spare(run: Run) -> None:
    """A place is free for it, and the others ought to come: the join timeout holds."""
    join_all(run.nodes(2, 2, 3))
    late = joining(run.node(2, 3, join_s=1.0, spare_s=3600.0))
    with pytest.raises(RendezvousTimeoutError, match="join"):
        late.result()


@pytest.fixture(params=["server", "store", "etcd"])
def far_run(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Run, Callable[[], Run], FaultProxy]]:
    """A run, a way of making nodes whose network is bad, and that network."""
    monkeypatch.setattr("rendezvous._coordination.by_server.join._SPARE_ASKS_S", 0.5)
    if request.param == "etcd":
        near_etcd = EtcdRun(request.getfixturevalue("etcd_endpoint"))
        port = int(near_etcd.endpoints.rpartition(":")[2])
        with etcd_proxy(port) as proxy:
            far_etcd = EtcdRun(f"127.0.0.1:{proxy.port}")
            far_etcd.prefix = near_etcd.prefix
            yield near_etcd, lambda: far_etcd, proxy
            far_etcd.shutdown()
            near_etcd.shutdown()
        return
    server: Server = request.getfixturevalue("server")
    connect: Callable[..., TCPStore] = request.getfixturevalue("connect")
    near = Run(connect, request.param)
    with FaultProxy(server.port) as proxy:
        # An exchange with a store that is the caller's has that store's timeout.
        far = Run(lambda: connect(proxy.port, timeout=1.0), request.param)
        yield near, lambda: far, proxy
        far.shutdown()
        near.shutdown()


@pytest.mark.parametrize("fault", ["frozen", "gone"])
def test_a_spare_whose_store_is_silent_looks_for_it_for_the_join_timeout(
    far_run: tuple[Run, Callable[[], Run], FaultProxy], fault: str
) -> None:
    """It cannot know whether it has a place by now."""
    near, far, proxy = far_run
    join_all(near.nodes(2, 2))
    spare = far().node(2, join_s=_JOIN_S)
    waiting = joining(spare)
    eventually("a spare", lambda: len(near.look().spares) == 1)
    _after(0.5)  # it may not know it yet
    begin = time.monotonic()
    proxy.freeze() if fault == "frozen" else proxy.close()
    with pytest.raises(RendezvousTimeoutError):
        waiting.result()
    assert time.monotonic() - begin >= _JOIN_S - 0.5


def test_a_spare_whose_store_is_back_waits_on(
    far_run: tuple[Run, Callable[[], Run], FaultProxy],
) -> None:
    """A short outage does not count against it."""
    near, far, proxy = far_run
    join_all(near.nodes(2, 2))
    spare = far().node(2, join_s=_JOIN_S)
    waiting = joining(spare)
    eventually("a spare", lambda: len(near.look().spares) == 1)
    _after(0.5)
    proxy.cut(reset=True)
    _after(1.5 * _JOIN_S)
    assert waiting.running
    assert len(near.look().spares) == 1


def test_the_two_timeouts_count_in_turn() -> None:
    """Each from when the node became what it is; an outage is the third."""
    time_left = JoinTime(Deadline.after(100), 600.0, 3600.0)
    assert time_left.timeout_s == 600.0
    assert not time_left.note(is_spare=False)
    assert time_left.deadline.left_s <= 100
    assert time_left.note(is_spare=True)
    assert 3500 < time_left.deadline.left_s <= 3600
    assert time_left.timeout_s == 3600.0
    time_left.note_outage()
    first = time_left.deadline
    assert 500 < first.left_s <= 600
    time_left.note_outage()
    assert time_left.deadline is first
    assert not time_left.note(is_spare=True)
    assert 3500 < time_left.deadline.left_s <= 3600
    assert time_left.note(is_spare=False)
    assert 500 < time_left.deadline.left_s <= 600
