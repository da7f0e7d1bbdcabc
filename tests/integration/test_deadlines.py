"""A deadline is a promise: every call ends in time when the server or the network does not answer.

Nothing here sets an upper limit that a slow machine could break. What would once have blocked for
ever fails at the backstop of Background instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Literal

import pytest
from support.background import Background
from support.process import ServerProcess
from support.proxy import FaultProxy

from rendezvous import (
    Server,
    Store,
    StoreConnectionError,
    StoreKeysMissingError,
    StoreNoAnswerError,
    TCPStore,
)

Connect = Callable[..., TCPStore]
MIB = 1024 * 1024
TIMEOUT_S = 0.15
PROTOCOLS = ["native", "c10d"]

BIG = b"v" * (8 * MIB)  # no socket buffer takes it
READS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get("k"),
    "get of a missing key": lambda store: store.get("missing"),
    "check": lambda store: store.check(["k"]),
    "wait": lambda store: store.wait(["k"]),
    "multi_get": lambda store: store.multi_get(["k", "k"]),
    "num_keys": lambda store: store.num_keys(),
    "list_keys": lambda store: store.list_keys(),
}
WRITES: dict[str, Callable[[Store], object]] = {
    "set": lambda store: store.set("s", "v"),
    "add": lambda store: store.add("n", 1),
    "append": lambda store: store.append("a", "v"),
    "compare_set": lambda store: store.compare_set("c", "", "v"),
    "delete_key": lambda store: store.delete_key("d"),
    "multi_set": lambda store: store.multi_set(["m0", "m1"], ["v", "v"]),
    "large set": lambda store: store.set("big", BIG),
    "large multi_set": lambda store: store.multi_set([f"big-{i}" for i in range(8)], [BIG] * 8),
}
OPERATIONS = READS | WRITES


def ends_in_time(call: Callable[[], object], timeout_s: float = TIMEOUT_S) -> str:
    """The text of the timeout that a call ends with, not before its time.

    It says that there was no answer, and not that something is missing.
    """
    blocked = Background(call)
    with pytest.raises(StoreNoAnswerError, match="timeout") as caught:
        blocked.result()
    assert blocked.elapsed_s >= timeout_s
    return str(caught.value)


@pytest.fixture(scope="module")
def process() -> Iterator[ServerProcess]:
    with ServerProcess() as process:
        yield process


def prepared(store: TCPStore) -> TCPStore:
    for key in store.list_keys():
        store.delete_key(key)
    store.set("k", "v")
    store.set_timeout(TIMEOUT_S)
    return store


@pytest.fixture
def store(process: ServerProcess, connect: Connect) -> TCPStore:
    """A client of a server that can be stopped, with k = "v", and the short timeout."""
    return prepared(connect(process.port))


@pytest.fixture(params=PROTOCOLS)
def any_store(request: pytest.FixtureRequest, process: ServerProcess, connect: Connect) -> TCPStore:
    """The same, in either protocol."""
    return prepared(connect(process.port, protocol=request.param))


def works(store: Store) -> bool:
    store.set_timeout(60)
    store.set("after", "w")
    return store.get("after") == b"w" and store.add("counter", 1) == 1


@pytest.mark.parametrize("operation", OPERATIONS)
def test_stopped_server(process: ServerProcess, any_store: TCPStore, operation: str) -> None:
    """Every operation on a server under SIGSTOP times out, and says that no answer came.

    After SIGCONT the same store works. A large write that was cut short is completed, not torn.
    """
    store = any_store
    process.pause()
    try:
        text = ends_in_time(lambda: OPERATIONS[operation](store))
    finally:
        process.resume()
    assert "no answer within 0.15 s" in text
    assert ("may or may not have been applied" in text) == (operation in WRITES)
    assert works(store)
    assert len([key for key in store.list_keys() if key.startswith("big-")]) in (0, 8)


def test_now_or_never_at_a_server_that_does_not_answer_is_no_answer(
    process: ServerProcess, any_store: TCPStore
) -> None:
    """A key that is there is not called missing because the server was too slow to say so."""
    store = any_store
    calls: list[Callable[[], object]] = [
        lambda: store.get("k", 0),
        lambda: store.wait(["k"], 0),
        lambda: store.multi_get(["k"], 0),
        lambda: store.barrier("b", 1, 0, rank=0),
        lambda: store.exchange("x", 0, 1, "", 0),
    ]
    process.pause()
    try:
        for call in calls:
            with pytest.raises(StoreNoAnswerError, match="timeout"):
                call()
    finally:
        process.resume()
    store.set_timeout(60)
    assert store.get("k") == b"v"
    with pytest.raises(StoreKeysMissingError, match="timeout") as caught:
        store.get("gone", TIMEOUT_S)
    assert caught.value.keys == ["gone"]


def test_stopped_server_and_many_threads(process: ServerProcess, any_store: TCPStore) -> None:
    """All operations at once, over one connection, time out each on its own."""
    store = any_store
    process.pause()
    try:
        calls = [
            Background(ends_in_time, lambda operation=operation: operation(store))
            for operation in (*OPERATIONS.values(), *READS.values())
        ]
        for call in calls:
            call.result()
    finally:
        process.resume()
    assert works(store)


def test_what_could_not_be_sent_is_withdrawn(process: ServerProcess, store: TCPStore) -> None:
    """A write behind another that is stuck half-sent is never applied once it has timed out."""
    process.pause()
    try:
        ends_in_time(lambda: store.set("big", BIG))
        for _ in range(3):
            assert "it was not sent" in ends_in_time(lambda: store.append("late", BIG))
    finally:
        process.resume()
    assert works(store)
    assert store.get("big") == BIG
    assert not store.check(["late"])


def test_late_answers_are_not_mixed_up(process: ServerProcess, store: TCPStore) -> None:
    """Answers to calls that have given up do not become the answers of later ones."""
    sent = 0
    process.pause()
    try:
        for _ in range(2):
            # Silence makes the connection suspect: later calls wait for a better one, unsent.
            sent += "it was not sent" not in ends_in_time(lambda: store.add("n", 1))
            ends_in_time(lambda: store.get("never"))
    finally:
        process.resume()
    store.set_timeout(60)
    store.set("k", "new")
    assert store.get("k") == b"new"
    assert store.add("n", 0) == sent > 0
    assert store.check(["k"]) is True


@pytest.mark.parametrize("timeout_s", [0, 0.001, 0.35])
def test_timeout_of_the_call_counts(
    process: ServerProcess, any_store: TCPStore, timeout_s: float
) -> None:
    """A call's own timeout is kept against a stopped server too, and not the store's."""
    store = any_store
    store.set_timeout(600)
    process.pause()
    try:
        ends_in_time(lambda: store.get("k", timeout_s), timeout_s)
        ends_in_time(lambda: store.wait(["k"], timeout_s), timeout_s)
        ends_in_time(lambda: store.multi_get(["k"], timeout_s), timeout_s)
    finally:
        process.resume()
    assert works(store)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_connecting_to_a_stopped_server(
    process: ServerProcess, store: TCPStore, protocol: Literal["native", "c10d"]
) -> None:
    """The kernel accepts, nobody answers: the time to connect is kept, and says so."""
    process.pause()
    try:
        text = ends_in_time(
            lambda: TCPStore("127.0.0.1", process.port, timeout=TIMEOUT_S, protocol=protocol)
        )
        assert "accepted the connection but did not answer" in text
        connecting = Background(
            TCPStore, "127.0.0.1", process.port, timeout=60, protocol=protocol
        ).let_block()
    finally:
        process.resume()
    late = connecting.result()
    assert late.get("k") == b"v"
    late.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_frozen_network(server: Server, connect: Connect, operation: str, protocol: str) -> None:
    """A network that swallows everything is like a stopped server; the deadline is ours."""
    connect().set("k", "v")
    with FaultProxy(server.port) as proxy:
        store = connect(proxy.port, protocol=protocol)
        store.set_timeout(TIMEOUT_S)
        proxy.freeze()
        ends_in_time(lambda: OPERATIONS[operation](store))
        proxy.thaw()
        assert works(store)


def test_lost_connection_and_a_frozen_network(proxy: FaultProxy, connect: Connect) -> None:
    """The time to reconnect is part of the call's time."""
    store = connect(proxy.port)
    store.set_timeout(TIMEOUT_S)
    proxy.cut()
    proxy.freeze()
    for operation in OPERATIONS.values():
        begin = time.monotonic()
        with pytest.raises((StoreNoAnswerError, StoreConnectionError)):
            operation(store)
        assert time.monotonic() - begin >= TIMEOUT_S
    proxy.thaw()
    assert works(store)


def test_server_keeps_deadlines_of_a_client_that_cannot_be_reached(
    proxy: FaultProxy, connect: Connect
) -> None:
    """After a freeze the answer to a wait that has timed out is dropped, and later ones count."""
    store = connect(proxy.port)
    waiting = Background(store.get, "k", TIMEOUT_S).let_block()
    proxy.freeze()
    connect().set("k", "v")
    with pytest.raises(StoreNoAnswerError, match="no answer within"):
        waiting.result()
    proxy.thaw()
    assert store.get("k") == b"v"
    assert works(store)
