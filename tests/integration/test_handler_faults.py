"""The handler when something goes wrong: nodes die, stores fail, states are lost or foreign."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from handler_support import (
    DYING,
    FOR_ALL_S,
    INTERVAL_S,
    KEY,
    LOOPBACK,
    RUN,
    LossyBackend,
    Run,
    changes,
    die,
    further_heartbeats,
    join_all,
    joining,
    run_kept_by,
    stored_run,
)
from support.background import Background, eventually
from support.proxy import FaultProxy

from rendezvous import (
    C10dRendezvousBackend,
    DynamicRendezvousHandler,
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousParameters,
    RendezvousStateError,
    RendezvousTimeoutError,
    Server,
    TCPStore,
    get_rendezvous_handler,
)
from rendezvous._base.deadline import Deadline


@pytest.fixture
def stored() -> Iterator[Run]:
    """A run whose state is kept by compare-and-set."""
    with stored_run() as run:
        yield run


@pytest.fixture(params=["store", "server"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """A run kept in each way."""
    with run_kept_by(request.param, request) as run:
        yield run


@pytest.fixture(params=["store", "server"])
def shaky(
    request: pytest.FixtureRequest, proxy: FaultProxy, connect: Callable[..., TCPStore]
) -> Iterator[Run]:
    """A run whose nodes reach their store through a faulty network."""
    run = Run(lambda: connect(proxy.port), request.param)
    yield run
    proxy.thaw()
    run.shutdown()


def lossy(run: Run, lost_writes: int = 0) -> LossyBackend:
    return LossyBackend(C10dRendezvousBackend(run.new_store(), RUN), lost_writes)


def test_a_dead_node_is_noticed_and_the_next_round_is_without_it(run: Run) -> None:
    """The others count it as a change; the error of a node that waits in vain names it."""
    handlers = run.nodes(3, 2, 3, last_call_s=FOR_ALL_S, **DYING)
    join_all(handlers)
    die(handlers[2])
    for handler in handlers[:2]:
        changes(handler, 1)
    assert run.look().lost == [handlers[2].node]
    infos = join_all(handlers[:2])
    assert {(info.round, info.world_size) for info in infos} == {(2, 2)}


def test_a_node_that_was_taken_for_dead_learns_it_and_comes_back(run: Run) -> None:
    """Its process had been stopped, say."""
    handlers = run.nodes(2, 1, 2, last_call_s=FOR_ALL_S, **DYING)
    join_all(handlers)
    handlers[1]._coordinator.ask_to_stop()
    changes(handlers[0], 1)
    assert handlers[1].num_nodes_waiting() == 0
    handlers[1]._coordinator.start()
    eventually("its own loss", lambda: handlers[1].num_nodes_waiting() >= 1)
    assert {info.round for info in join_all(handlers)} == {2}


def test_a_node_evicted_while_it_waits_joins_again(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """And says so: heartbeats that do not get through are worth a warning."""
    handler = run.node(2)
    first = joining(handler)
    eventually("the first", lambda: run.look().participants == [handler.node])
    run.evict(handler.node)
    eventually("it again", lambda: run.look().participants == [handler.node])
    assert {info.world_size for info in [run.node(2).next_rendezvous(), first.result()]} == {2}
    assert "considered this node lost" in caplog.text


def test_a_timeout_says_who_joined_what_was_wanted_and_what_to_do(run: Run) -> None:
    """In words, and as attributes; and the node is not listed any more."""
    patient = run.node(3, 5, local_addr="hostA")
    waiting = joining(patient)
    eventually("the first", lambda: len(run.look().participants) == 1)
    hasty = run.node(3, 5, local_addr="hostB", join_s=0.3)
    with pytest.raises(RendezvousTimeoutError) as caught:
        hasty.next_rendezvous()
    text, pid = str(caught.value), os.getpid()
    for part in (
        f"run '{RUN}': 2 of at least 3 (at most 5) nodes joined within 0.3 s",
        f"hostA (pid {pid}), hostB (pid {pid})",
        "the store is at ",
        "raise join_timeout, or lower min_nodes",
    ):
        assert part in text
    assert caught.value.joined == [f"hostA (pid {pid})", f"hostB (pid {pid})"]
    assert (caught.value.min_nodes, caught.value.max_nodes) == (3, 5)
    assert run.look().participants == [patient.node]
    assert waiting.running
    patient.set_closed()


def test_a_timeout_names_the_nodes_that_were_lost(run: Run) -> None:
    """Who was there and went is the first to look at."""
    handlers = [run.node(2, local_addr=f"host{i}", join_s=2.0, **DYING) for i in range(2)]
    join_all(handlers)
    die(handlers[1])
    changes(handlers[0], 1)
    with pytest.raises(RendezvousTimeoutError, match=r"lost: host1 \(pid") as caught:
        handlers[0].next_rendezvous()
    assert caught.value.lost == [f"host1 (pid {os.getpid()})"]


def test_a_spare_that_gives_up_says_which_round_it_waited_for(run: Run) -> None:
    """More time or more places would help; more nodes would not."""
    run.node(1).next_rendezvous()
    with pytest.raises(RendezvousTimeoutError, match=r"round 1 runs with .*this node is a spare"):
        run.node(1, spare_s=0.2).next_rendezvous()
    assert run.look().spares == []


def test_a_lost_race_is_run_again(stored: Run) -> None:
    """Many nodes write at once; whoever loses goes on from what won."""
    backends = [lossy(stored, lost_writes=count) for count in (0, 1, 2, 7)]
    handlers = [stored.node(4, backend=backend) for backend in backends]
    assert sorted(info.rank for info in join_all(handlers)) == [0, 1, 2, 3]
    assert all(backend.lost_writes == 0 for backend in backends)


def test_a_lost_write_costs_no_further_read(stored: Run) -> None:
    """What won came with the refusal."""
    backend = lossy(stored, lost_writes=1)
    handler = stored.node(1, backend=backend)
    handler.set_closed()
    assert backend.calls == 3


def test_a_backend_that_fails_while_joining_is_tried_again(stored: Run) -> None:
    """A store that starts late, or again, only costs time."""
    backend = lossy(stored)
    backend.error = RendezvousConnectionError("no route")
    joined = joining(stored.node(1, backend=backend))
    eventually("some tries", lambda: backend.calls > 2)
    backend.error = None
    assert joined.result().rank == 0


def test_a_backend_that_fails_to_the_end_is_a_timeout_with_its_last_error(stored: Run) -> None:
    """The reason is not lost with the time."""
    backend = lossy(stored)
    backend.error = RendezvousConnectionError("no route to the store")
    with pytest.raises(RendezvousTimeoutError, match="no route to the store") as caught:
        stored.node(1, backend=backend, join_s=0.3).next_rendezvous()
    assert caught.value.__cause__ is backend.error
    assert caught.value.joined == []
    backend.error = None


@pytest.mark.parametrize("rulebook", ["store", "server"])
def test_an_error_that_time_does_not_heal_is_raised_at_once(rulebook: str) -> None:
    """A closed connection stays closed; nobody waits ten minutes to learn that."""
    server = Server()
    store = TCPStore("127.0.0.1", server.port, timeout=60)
    handler = DynamicRendezvousHandler.from_backend(
        RUN, store, C10dRendezvousBackend(store, RUN), 2, 2, LOOPBACK, rulebook=rulebook
    )
    joined = joining(handler)
    coordinator = handler._coordinator
    eventually("joined", lambda: bool(coordinator.census(Deadline.after(60)).participants))
    if rulebook == "store":
        store.close()
    else:
        coordinator.stop(Deadline.after(60.0))
    with pytest.raises(RendezvousConnectionError, match="close"):
        joined.result()
    assert not handler.shutdown()
    server.close()


def test_an_outage_is_told_once_and_so_is_its_end(
    stored: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """num_nodes_waiting answers throughout; the log is not flooded."""
    backend = lossy(stored)
    handler = stored.node(1, backend=backend)
    handler.next_rendezvous()
    backend.error = RendezvousConnectionError("unplugged")
    begin = backend.calls
    eventually("several beats", lambda: backend.calls > begin + 3)
    assert handler.num_nodes_waiting() == 0
    backend.error = None
    eventually("recovery", lambda: "arrive again" in caplog.text)
    assert caplog.text.count("unplugged") == 1


def test_a_state_that_vanished_is_put_back_and_nobody_is_disturbed(
    stored: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """The store lost its data, the job runs on."""
    handlers = stored.nodes(3, 3, **DYING)
    join_all(handlers)
    before = stored.stored()
    store = stored.new_store()
    assert store.delete_key(KEY)
    eventually("the state", lambda: len(stored.look().participants) == 3)
    after = stored.stored()
    assert (after.round, after.participants) == (before.round, before.participants)
    further_heartbeats(handlers[0])
    assert [handler.num_nodes_waiting() for handler in handlers] == [0, 0, 0]
    assert "restored it" in caplog.text


def test_a_store_that_comes_back_empty_does_not_end_a_round(
    shaky: Run, proxy: FaultProxy, free_port: int
) -> None:
    """Its server died and was started again, elsewhere and without data."""
    handlers = shaky.nodes(2, 2)
    join_all(handlers)
    with Server(LOOPBACK, free_port) as server:
        proxy.target_port = server.port
        proxy.cut()
        eventually("the state", lambda: len(shaky.look().participants) == 2)
        assert [handler.num_nodes_waiting() for handler in handlers] == [0, 0]
        assert {info.round for info in join_all(handlers)} == {2}
        shaky.shutdown()


def test_a_store_that_comes_back_empty_does_not_open_a_closed_run(
    shaky: Run, proxy: FaultProxy, free_port: int
) -> None:
    """Those who take part know that it was closed, and see to it that it stays so."""
    handlers = shaky.nodes(2, 2)
    join_all(handlers)
    handlers[0].set_closed()
    eventually("all know", lambda: all(handler.is_closed() for handler in handlers))
    with Server(LOOPBACK, free_port) as server:
        proxy.target_port = server.port
        proxy.cut()
        late = shaky.node(2)
        eventually("the state", lambda: len(shaky.look().participants) == 2)
        eventually("it is closed", late.is_closed)
        with pytest.raises(RendezvousClosedError):
            late.next_rendezvous()
        assert [handler.num_nodes_waiting() for handler in handlers] == [0, 0]
        shaky.shutdown()


def test_joining_outlives_a_network_that_breaks_and_mends(shaky: Run, proxy: FaultProxy) -> None:
    """Cut connections are made anew, and nothing is joined twice."""
    first = joining(shaky.node(2))
    eventually("the first", lambda: len(shaky.look().participants) == 1)
    second = shaky.node(2)
    for _ in range(5):
        proxy.cut()
    proxy.cut_before_next_reply()
    infos = [second.next_rendezvous(), first.result()]
    assert sorted(info.rank for info in infos) == [0, 1]


@pytest.mark.parametrize("rulebook", ["store", "auto"])
def test_a_frozen_store_does_not_hold_the_join_past_its_timeout(
    proxy: FaultProxy, rulebook: str
) -> None:
    """Although a single request may take ten minutes: deadlines are kept, shut down included."""
    params = RendezvousParameters(
        "c10d",
        f"{LOOPBACK}:{proxy.port}",
        RUN,
        2,
        2,
        is_host=False,
        read_timeout=600,
        join_timeout=1.5,
        close_timeout=0.3,
        heartbeat_timeout=600,
        keep_alive_interval=INTERVAL_S,
        rulebook=rulebook,
    )
    handler = get_rendezvous_handler(params)
    assert isinstance(handler, DynamicRendezvousHandler)
    joined = Background(handler.next_rendezvous)
    parts = vars(handler._coordinator)
    if rulebook == "auto":
        eventually("a look at who is there", lambda: has_looked(parts["_watch"]))
    else:
        eventually("joined, and told so", lambda: parts["_sync"].view.role == "forming")
    proxy.freeze()
    with pytest.raises(RendezvousTimeoutError, match=r"1 of at least 2.*last failure"):
        joined.result()
    assert Background(handler.shutdown).result() is False


def has_looked(watch: Any) -> bool:
    return watch._lookout is not None and watch._lookout.view is not None


def test_other_settings_are_refused_and_named(run: Run) -> None:
    """The group keeps those of its first node."""
    waiting = joining(run.node(2, 3))
    eventually("the first", lambda: len(run.look().participants) == 1)
    with pytest.raises(RendezvousStateError, match=rf"run '{RUN}'.*they differ in max_nodes"):
        run.node(2, 4).next_rendezvous()
    assert len(run.look().participants) == 1
    assert waiting.running
    run.node(2, 3).set_closed()


@pytest.mark.parametrize("junk", [b"not base64", base64.b64encode(b"no state of a group")])
def test_junk_in_the_states_place_is_an_error_and_stays(stored: Run, junk: bytes) -> None:
    """It belongs to somebody else: nothing is overwritten, and nobody waits."""
    stored.new_store().set(KEY, junk)
    handler = stored.node(1)
    with pytest.raises(RendezvousStateError):
        handler.next_rendezvous()
    with pytest.raises(RendezvousStateError):
        handler.is_closed()
    assert stored.new_store().get(KEY) == junk


@pytest.mark.parametrize(("first", "second"), [("store", "server"), ("server", "store")])
def test_members_that_keep_the_run_in_different_ways_are_told_so(
    connect: Callable[..., TCPStore], first: str, second: str
) -> None:
    """They would never meet: each way sees only its own members."""
    run = Run(connect, first)
    try:
        run.node(1).next_rendezvous()
        with pytest.raises(RendezvousStateError, match=r"must (do the same|keep it the same way)"):
            run.node(1, rulebook=second).next_rendezvous()
        assert len(run.look().participants) == 1
    finally:
        run.shutdown()


def test_leaving_a_store_that_is_gone_is_told_but_does_not_hang(stored: Run) -> None:
    """`leave` waits the close timeout and raises; `shutdown` waits no more and answers False."""
    backend = lossy(stored)
    handler = DynamicRendezvousHandler.from_backend(
        RUN,
        stored.new_store(),
        backend,
        1,
        1,
        LOOPBACK,
        stored.node(1)._timeout.__class__(close=0.2),
    )
    handler.next_rendezvous()
    backend.error = RendezvousConnectionError("gone")
    begin = time.monotonic()
    with pytest.raises(RendezvousConnectionError, match="gone"):
        handler.leave()
    with pytest.raises(RendezvousConnectionError, match="gone"):
        handler.set_closed()
    assert handler.shutdown() is False
    assert time.monotonic() - begin >= 0.4
