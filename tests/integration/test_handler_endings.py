"""How a node's part ends: rank 0 dies or cannot serve, a job is over, its caller goes."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from handler_support import DYING, INTERVAL_S, LOOPBACK, RUN, Run, joining, run_kept_by
from support.background import Background, eventually

from rendezvous import (
    C10dRendezvousBackend,
    DynamicRendezvousHandler,
    RendezvousConnectionError,
    RendezvousFinishedError,
    Server,
    Store,
    StoreAddressInUseError,
    TCPStore,
    _core,
)
from rendezvous._base.hosts import serve_workers


@pytest.fixture(params=["store", "server"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """A run kept in each way."""
    with run_kept_by(request.param, request) as run:
        yield run


def test_a_rank_0_that_dies_before_it_publishes_its_address_is_left_behind(run: Run) -> None:
    """The others notice while they wait for it, and form the next round."""
    ghost = _core.Node("1.first", 1, 1)
    settings = _core.GroupSettings(
        1, 2, 0.1, INTERVAL_S, DYING["keep_alive_max_attempt"], debounce=1
    )
    if run.rulebook == "store":
        run.change(lambda group, now: group.join(ghost, settings, 0, now))
        info = run.node(1, 2, **DYING).next_rendezvous()
    else:
        client = run.client(ghost, settings, grace_s=0.3)
        joined = Background(client.join, 0, 60)
        info_of = joining(run.node(1, 2, **DYING))
        assert joined.result().rank == 0
        client.close()
        info = info_of.result()
    assert (info.rank, info.world_size, info.round) == (0, 1, 2)


class Silent:
    """A RunClient that must not be asked to leave."""

    def __init__(self, client: _core.RunClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> object:
        assert name != "leave", "there is nothing to leave"
        return getattr(self._client, name)


def test_who_is_dismissed_has_nothing_to_tell_a_server_that_may_be_gone(
    server: Server, connect: Callable[..., TCPStore]
) -> None:
    """The job is over, and its host need not stay for those who waited in vain."""
    run = Run(lambda: connect(server.port), "server")
    member, spare = run.nodes(2, 1)
    member.next_rendezvous()
    coordinator: Any = spare._coordinator
    coordinator._client = Silent(coordinator._client)
    waiting = joining(spare)
    eventually("a spare", lambda: len(run.look().spares) == 1)
    member.leave()
    with pytest.raises(RendezvousFinishedError, match="finished"):
        waiting.result()
    run.shutdown()


def test_a_rank_0_that_cannot_serve_tells_the_others(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would wait for its address to the end; now they form the next round."""
    handlers = [run.node(1, 2, last_call_s=3600, local_addr=each) for each in ("1.first", LOOPBACK)]
    with monkeypatch.context() as patch:
        patch.setattr("rendezvous._node.bootstrap.serve_workers", refuse_once())
        joins = [joining(handler) for handler in handlers]
        with pytest.raises(RendezvousConnectionError, match="cannot serve the bootstrap store"):
            joins[0].result()
    eventually("the next round", lambda: run.look().round == 2)
    again = joining(handlers[0])
    assert {each.result().world_size for each in (joins[1], again)} == {2}


def refuse_once() -> Callable[..., Server]:
    """`serve_workers`, which fails the first time."""
    refusals = [StoreAddressInUseError("no port is free")]

    def serve(*arguments: Any) -> Server:
        if refusals:
            raise refusals.pop()
        return serve_workers(*arguments)

    return serve


def test_the_log_says_who_is_missing_while_a_node_waits(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every few seconds: how many of how many, who is new, how long still."""
    monkeypatch.setattr("rendezvous._coordination.waiting._PROGRESS_S", 0.05)
    caplog.set_level(logging.INFO, "rendezvous")
    first = joining(run.node(3, local_addr="hostA"))
    eventually("word of the first", lambda: "1 of at least 3 (at most 3) nodes" in caplog.text)
    second = joining(run.node(3, local_addr="hostB"))
    # The first one says it: to the second itself, all are new.
    new = f"2 of at least 3 (at most 3) nodes joined; new: hostB (pid {os.getpid()})"
    eventually("the first one's word of the second", lambda: new in caplog.text)
    run.node(3).next_rendezvous()
    assert {each.result().world_size for each in (first, second)} == {3}
    assert "s left" in caplog.text


def test_an_interrupt_takes_the_node_out_and_is_passed_on(run: Run) -> None:
    """Ctrl-C in a launcher that waits: the others need not wait for its heartbeats to stop."""
    handler = run.node(2)
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        eventually("joined", lambda: run.look().participants == [handler.node])
        signal.pthread_kill(main, signal.SIGINT)

    interrupter = Background(interrupt)
    with pytest.raises(KeyboardInterrupt):
        handler.next_rendezvous()
    interrupter.result()
    assert run.look().participants == []


def test_a_handler_that_is_dropped_stops_its_heartbeat(run: Run) -> None:
    """Without a shutdown there is nobody left to send it for."""
    before = set(threading.enumerate())
    store: Store = run.new_store()
    handler = DynamicRendezvousHandler.from_backend(
        RUN, store, C10dRendezvousBackend(store, RUN), 1, 1, LOOPBACK
    )
    handler.next_rendezvous()
    (thread,) = [each for each in set(threading.enumerate()) - before if "heartbeat" in each.name]
    assert thread.is_alive()
    del handler
    eventually("the thread's end", lambda: not thread.is_alive())
