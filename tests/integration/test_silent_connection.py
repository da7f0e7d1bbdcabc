"""A connection that is dead without a word is replaced; one to a slow server is not.

The network forgets connections (FaultProxy.swallow): it takes bytes, passes none on, and tells
neither end; new connections are well. A server that is stopped is silent in the same way, but on
new connections too: it must not get them by the dozen, and what it was asked is not given up.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable

import pytest
from handler_support import Run, further_heartbeats, join_all
from support.background import Background, eventually
from support.process import PythonProcess
from support.proxy import FaultProxy

from rendezvous import StoreConnectionError, StoreTimeoutError, TCPStore
from rendezvous._core import GroupSettings, Node, RunClient

Connect = Callable[..., TCPStore]
SHORT_S = 0.05
RULES = GroupSettings(1, 1, 3600.0, 3600.0, 3)

# What waits for nobody, and is repeated where that is safe.
READS: dict[str, Callable[[TCPStore], object]] = {
    "get": lambda store: store.get("k"),
    "check": lambda store: store.check(["k"]),
    "num_keys": lambda store: store.num_keys(),
    "list_keys": lambda store: store.list_keys(),
}
WRITES: dict[str, Callable[[TCPStore], object]] = {
    "set": lambda store: store.set("k", "w"),
    "add": lambda store: store.add("n", 1),
    "append": lambda store: store.append("k", "w"),
}


@pytest.fixture(params=["native", "c10d"])
def store(request: pytest.FixtureRequest, connect: Connect, proxy: FaultProxy) -> TCPStore:
    """A client whose network can forget its connections, with k = "v"."""
    store = connect(proxy.port, protocol=request.param)
    store.set("k", "v")
    return store


def times_out(call: Callable[[], object]) -> str:
    with pytest.raises(StoreTimeoutError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize("operation", [*READS, *WRITES])
def test_who_was_not_answered_in_time_has_a_new_connection_next(
    store: TCPStore, proxy: FaultProxy, operation: str
) -> None:
    """One call times out; after it the store works, for all its threads."""
    proxy.swallow()
    store.set_timeout(SHORT_S)
    times_out(lambda: (READS | WRITES)[operation](store))
    store.set_timeout(60)
    assert store.get("k") == b"v"
    store.set("k", "w")
    assert Background(store.get, "k").result() == b"w"
    assert proxy.connections == 2


def test_a_read_with_much_time_is_repeated_on_a_new_connection(
    store: TCPStore, proxy: FaultProxy
) -> None:
    """Its caller does not wait for its timeout, and does not learn of it."""
    store.set_timeout(3600)
    proxy.swallow()
    assert Background(store.num_keys).result() == 1
    assert proxy.connections == 2


def test_a_write_with_much_time_is_given_up_when_a_new_connection_is_there(
    store: TCPStore, proxy: FaultProxy
) -> None:
    """Nothing is replayed: it may or may not have been applied, and the error says why."""
    store.set_timeout(3600)
    proxy.swallow()
    with pytest.raises(StoreConnectionError) as caught:
        Background(store.set, "k", "w").result()
    assert "it may or may not have been applied" in str(caught.value)
    assert "the server answers on a new connection" in str(caught.value)
    assert store.get("k") == b"v"


def test_all_calls_of_a_dead_connection_end_or_move(connect: Connect, proxy: FaultProxy) -> None:
    """Reads that wait go on on the new one; a write on its way fails, its outcome unknown."""
    store = connect(proxy.port)
    waiting = [Background(store.get, f"later-{i}", 3600) for i in range(8)]
    popping = Background(store.queue_pop, "q", timeout=3600)
    popping.let_block()
    proxy.swallow()
    store.set_timeout(SHORT_S)
    times_out(store.num_keys)
    with pytest.raises(StoreConnectionError, match="may or may not have been applied"):
        popping.result()
    connect().multi_set([f"later-{i}" for i in range(8)], [str(i) for i in range(8)])
    assert [w.result() for w in waiting] == [str(i).encode() for i in range(8)]
    assert proxy.connections == 2


def test_a_stopped_server_gets_no_storm_and_keeps_its_connection(
    connect: Connect, proxy: FaultProxy
) -> None:
    """Many calls of many threads time out: there is one more connection, and no call is lost."""
    store = connect(proxy.port)
    waiting = Background(store.get, "later", 3600)
    popping = Background(store.queue_pop, "q", timeout=3600).let_block()
    store.set_timeout(SHORT_S)
    proxy.freeze()

    def ask() -> None:
        for _ in range(8):
            times_out(store.num_keys)
            assert "applied" in (text := times_out(lambda: store.add("n", 1))) or "not sent" in text

    begin = time.monotonic()
    for asking in [Background(ask) for _ in range(8)]:
        asking.result()
    # One more, which is waited for at least 5 s; then another.
    assert proxy.connections <= 2 + (time.monotonic() - begin) / 5
    proxy.thaw()
    other = connect()
    other.set("later", "l")
    other.queue_push("q", "item")
    assert waiting.result() == b"l"
    assert popping.result() == b"item"
    store.set_timeout(60)
    store.set("k", "w")
    assert store.get("k") == b"w"


def test_a_stopped_server_gets_no_storm_over_c10d_either(
    connect: Connect, proxy: FaultProxy
) -> None:
    """A call that timed out leaves a connection of no use; new ones come with pauses, up to 1 s."""
    store = connect(proxy.port, protocol="c10d")
    threads, calls = 8, 24
    store.set_timeout(SHORT_S)
    proxy.freeze()

    def ask() -> None:
        for _ in range(calls):
            times_out(store.num_keys)

    begin = time.monotonic()
    for asking in [Background(ask) for _ in range(threads)]:
        asking.result()
    # Each thread's first, those of the growing pauses, and one a second.
    allowed = threads + 8 + (time.monotonic() - begin)
    assert proxy.connections <= allowed < threads * calls
    proxy.thaw()
    store.set_timeout(60)
    store.set("k", "w")
    assert store.get("k") == b"w"


# In a network of its own: the address that the client's connection has goes away, as a machine's
# does with its lease. Packets to it have no way; nobody is told. Prints what the calls answer.
LOSES_ITS_ADDRESS = """\
import subprocess, sys
def ip(*words):
    subprocess.run(["ip", *words], check=True)
def come_from(address):
    ip("route", "replace", "table", "local", "local", "10.9.0.1", "dev", "lo", "src", address)
ip("link", "set", "lo", "up")
for address in ("10.9.0.1", "10.9.0.2", "10.9.0.3"):
    ip("addr", "add", address + "/32", "dev", "lo")
from rendezvous import Server, StoreTimeoutError, TCPStore
with Server("10.9.0.1", 0) as server:
    come_from("10.9.0.2")
    store = TCPStore("10.9.0.1", server.port, timeout=60, protocol=sys.argv[1])
    store.set("k", "v")
    print(store.observed_address, flush=True)
    come_from("10.9.0.3")
    ip("addr", "del", "10.9.0.2/32", "dev", "lo")
    store.set_timeout(0.2)
    try:
        store.num_keys()
    except StoreTimeoutError:
        print("timed out", flush=True)
    store.set_timeout(3600)
    print(store.get("k").decode(), flush=True)
    print(store.observed_address, flush=True)
"""


@pytest.mark.skipif(
    not (shutil.which("ip") and shutil.which("unshare"))
    or subprocess.run(["unshare", "-rn", "true"], check=False, capture_output=True).returncode != 0,
    reason="this needs a network name space of its own",
)
@pytest.mark.parametrize("protocol", ["native", "c10d"])
def test_a_machine_whose_address_changes(protocol: str) -> None:
    """The next call comes from the new address."""
    with PythonProcess(LOSES_ITS_ADDRESS, protocol, before=("unshare", "-rn")) as process:
        lines = [process.line() for _ in range(4)]
        assert lines == ["10.9.0.2", "timed out", "v", "10.9.0.3"]
        assert process.end() == 0, process.stderr


@pytest.mark.parametrize("sign", ["keep_alive", "leave"])
def test_a_sign_of_life_that_is_not_answered_gets_a_new_connection(
    connect: Connect, proxy: FaultProxy, sign: str
) -> None:
    """The node comes back on it, by resume, to the place that it has."""
    client = RunClient(connect(proxy.port), "run", Node("host", 1, 0), RULES, grace=3600.0)
    placed = client.join(0, 60)
    proxy.swallow()
    calls: dict[str, Callable[[], object]] = {
        "keep_alive": lambda: client.keep_alive(SHORT_S),
        "leave": lambda: client.leave(False, SHORT_S),
    }
    times_out(calls[sign])
    assert not client.keep_alive(60).known
    assert client.resume(placed.round, placed.rank, placed.world_size, 60).taken
    assert client.keep_alive(60).known
    assert (client.status(60).role, client.status(60).lost) == ("active", 0)
    client.close()


def test_a_node_whose_connection_is_forgotten_stays_in_its_round(
    connect: Connect, proxy: FaultProxy
) -> None:
    """Its heartbeats get through again by themselves; nobody notices, and no second world is made.

    The server still has the old connection open, and the node's place is taken from there.
    """
    run = Run(lambda: connect(proxy.port), "server")
    observer = Run(connect, "server")
    try:
        handlers = run.nodes(2, 2)
        join_all(handlers)
        proxy.swallow()
        for handler in handlers:
            further_heartbeats(handler)
            assert handler.num_nodes_waiting() == 0
        look = observer.look()
        assert sorted(look.participants) == sorted(handler.node for handler in handlers)
        assert look.lost == []
        # What is news for all comes over the new lines, too.
        handlers[0].set_closed()
        eventually("the news", handlers[1].is_closed)
    finally:
        run.shutdown()
        observer.shutdown()
