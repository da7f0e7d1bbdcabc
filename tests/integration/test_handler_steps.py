"""The handler's calls, whatever step the other side is cut off, killed or frozen after.

Every call keeps its deadline, and where the other side is there again, does what it should. Ctrl-C
and SIGTERM (whose handler raises) end it long before. Each way of keeping a run: by the store's
server, by the nodes, by a leader over etcd.

All steps of a join and of the other calls meet each fault. The signals come after every other step
of a join, and before and after the request of the other calls: between these nothing else is waited
for, and all of them would take minutes.
"""

from __future__ import annotations

import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal, get_args

import pytest
from support.background import BACKSTOP_S
from support.etcd import etcd_proxy
from support.proxy import FaultProxy

from rendezvous import (
    DynamicRendezvousHandler,
    RendezvousError,
    RendezvousParameters,
    Server,
    get_rendezvous_handler,
)

Fault = Literal["freeze", "cut", "kill"]
FAULTS = get_args(Fault)

_CALL_S = 1.0
_OTHER_S = 60.0
# What is promised is 0.1 s; a machine that is busy may add to that, and no other timeout fits in.
_SLACK_S = 5.0


class Place:
    """Where runs are kept in one way, behind a network."""

    def __init__(self, keeper: str, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self._keeper = keeper

    def handler(
        self,
        nodes: int,
        call_s: float,
        heartbeat_s: float = _OTHER_S,
        close_s: float | None = None,
    ) -> DynamicRendezvousHandler:
        is_etcd = self._keeper == "etcd"
        handler = get_rendezvous_handler(
            RendezvousParameters(
                "etcd" if is_etcd else "c10d",
                f"127.0.0.1:{self.proxy.port}",
                uuid.uuid4().hex,
                nodes,
                nodes,
                "127.0.0.1",
                join_timeout=str(call_s),
                close_timeout=str(call_s if close_s is None else close_s),
                heartbeat_timeout=str(heartbeat_s),
                read_timeout=str(_OTHER_S),
                **({} if is_etcd else {"is_host": "0", "rulebook": self._keeper}),
            )
        )
        assert isinstance(handler, DynamicRendezvousHandler)
        return handler


@pytest.fixture(params=["server", "store", "etcd"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "etcd":
        endpoint: str = request.getfixturevalue("etcd_endpoint")
        with etcd_proxy(int(endpoint.rpartition(":")[2])) as proxy:
            yield Place(request.param, proxy)
        return
    with Server("127.0.0.1", 0) as server, FaultProxy(server.port) as proxy:
        yield Place(request.param, proxy)


def _is_well(call: Callable[[], object]) -> bool:
    """Whether it did what it should. In time, in any case."""
    begin = time.monotonic()
    is_well = False
    with suppress(RendezvousError):
        is_well = call() is not False
    assert time.monotonic() - begin < _CALL_S + _SLACK_S
    return is_well


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("pieces", [0, 1, 2, 3, 5, 8, 13])
def test_joining(place: Place, pieces: int, fault: Fault) -> None:
    """Rounds of one node, with the bootstrap store's address published, until one is struck."""
    # Where the other side is there again, time shall not be what ends it.
    handler = place.handler(1, _OTHER_S if fault == "cut" else _CALL_S)
    place.proxy.strike_after(pieces, fault)
    rounds = []
    while not place.proxy.struck.is_set():
        if _is_well(lambda: rounds.append(handler.next_rendezvous().round)):
            continue
        assert fault != "cut"
    if fault == "cut":
        rounds.append(handler.next_rendezvous().round)
        assert rounds == sorted(set(rounds))
    assert _is_well(handler.shutdown) or fault != "cut"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("pieces", [0, 1, 2, 3])
@pytest.mark.parametrize("name", ["leave", "shutdown", "set_closed", "is_closed"])
def test_other_calls(place: Place, name: str, pieces: int, fault: Fault) -> None:
    """Of a node that has its place, or that has never asked for one."""
    call_s = _OTHER_S if fault == "cut" else _CALL_S
    # What asks whether the run is closed has the time of a heartbeat, and no second try.
    is_closed = name == "is_closed"
    handler = place.handler(1, _OTHER_S, call_s if is_closed else _OTHER_S, close_s=call_s)
    if not is_closed:
        handler.next_rendezvous()
    place.proxy.strike_after(pieces, fault)
    call: Callable[[], object] = getattr(handler, name)
    is_well = _is_well((lambda: call() is None) if name in ("leave", "set_closed") else call)
    if fault == "cut" and not is_closed:
        assert is_well
    _is_well(handler.shutdown)


class StopError(Exception):
    """What a signal's handler raises."""


@contextmanager
def _signal_once_struck(place: Place, signum: int) -> Iterator[None]:
    """It comes as from outside, in the middle of what waits for the other side."""

    def stop(signum: int, frame: object) -> None:
        raise StopError

    def send() -> None:
        assert place.proxy.struck.wait(BACKSTOP_S)
        time.sleep(0.2)  # for the call to be where it blocks, of which there is no sign
        signal.pthread_kill(threading.main_thread().ident or 0, signum)

    before = signal.signal(signal.SIGTERM, stop)
    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        begin = time.monotonic()
        with pytest.raises(KeyboardInterrupt if signum == signal.SIGINT else StopError):
            yield
        assert time.monotonic() - begin < _SLACK_S + _CALL_S
    finally:
        sender.join(BACKSTOP_S)
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("pieces", [0, 1, 2, 4])
def test_a_signal_ends_joining(place: Place, pieces: int, fault: Fault, signum: int) -> None:
    """For others, who do not come."""
    handler = place.handler(2, _OTHER_S)
    with _signal_once_struck(place, signum):
        place.proxy.strike_after(pieces, fault)
        handler.next_rendezvous()
    _is_well(handler.shutdown)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
@pytest.mark.parametrize("fault", ["freeze", "kill"])
@pytest.mark.parametrize("pieces", [0, 1])
@pytest.mark.parametrize("name", ["leave", "shutdown", "set_closed", "is_closed"])
def test_a_signal_ends_other_calls(
    place: Place, name: str, pieces: int, fault: Fault, signum: int
) -> None:
    """Which would wait for a minute; before they are asked for anything, or for their answer."""
    handler = place.handler(1, _OTHER_S)
    if name != "is_closed":
        handler.next_rendezvous()
    with _signal_once_struck(place, signum):
        place.proxy.strike_after(pieces, fault)
        while True:  # some know at once that there is nobody
            with suppress(RendezvousError):
                getattr(handler, name)()
    with suppress(RendezvousError):
        handler.cancel(0.05)  # who was interrupted need not wait again
    _is_well(handler.shutdown)


def test_a_signals_handler_shuts_down(place: Place) -> None:
    """In the middle of a join, whose other side is silent; and its exception is what is raised."""
    handler = place.handler(2, _OTHER_S, close_s=_CALL_S)
    place.proxy.freeze()

    def shut_down(signum: int, frame: object) -> None:
        _is_well(handler.shutdown)
        raise StopError

    before = signal.signal(signal.SIGUSR1, shut_down)
    threading.Timer(1.0, _signal_here, [signal.SIGUSR1]).start()
    try:
        with pytest.raises(StopError):
            handler.next_rendezvous()
    finally:
        signal.signal(signal.SIGUSR1, before)


def _signal_here(signum: int) -> None:
    """As from outside: it interrupts what the main thread waits for."""
    signal.pthread_kill(threading.main_thread().ident or 0, signum)
