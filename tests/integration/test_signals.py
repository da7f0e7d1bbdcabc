"""Signal handlers that use a store while a call of it connects, opens, or is in a rendezvous.

What every store's blocking calls do is in tests/contract/test_store_signals.py. As there, nothing
looks at a clock: the handler does what the interrupted call waits for.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from handler_support import run_kept_by
from support.background import BACKSTOP_S, Background
from support.process import PythonProcess
from support.proxy import FaultProxy
from support.signals import handling

from rendezvous import FileStore, RendezvousClosedError, Server, Store, TCPStore, open_store
from rendezvous._core import GroupSettings, Node, RunClient

Connect = Callable[..., TCPStore]
LONG_S = 300
PROTOCOLS = ["native", "c10d"]


class StopError(Exception):
    """What a handler raises."""


@pytest.fixture(params=PROTOCOLS)
def store(request: pytest.FixtureRequest, connect: Connect, proxy: FaultProxy) -> TCPStore:
    """A client that has lost its connection, and whose new ones are not answered."""
    store = connect(proxy.port, protocol=request.param, timeout=LONG_S)
    store.set("k", "v")
    proxy.freeze()
    proxy.cut()
    return store


def test_the_handler_calls_a_store_that_connects(store: TCPStore, proxy: FaultProxy) -> None:
    """It gets the connection that the interrupted call waits for, or one of its own."""
    events: list[str] = []

    def handle(count: int) -> bool:
        if count < 2:
            return False
        proxy.thaw()
        store.set("preempted", "1")
        store.set("later", "l")
        events.append("handled")
        return True

    with handling(handle):
        assert store.get("later", LONG_S) == b"l"
    events.append("returned")
    assert events == ["handled", "returned"]


def test_a_handler_that_raises_ends_connecting(store: TCPStore, proxy: FaultProxy) -> None:
    """And the next call connects again."""

    def handle(count: int) -> bool:
        raise StopError

    with handling(handle), pytest.raises(StopError):
        store.get("k", LONG_S)
    proxy.thaw()
    assert store.get("k", LONG_S) == b"v"


def test_a_handler_holds_up_no_other_thread_that_connects(
    store: TCPStore, proxy: FaultProxy
) -> None:
    """While it runs in the thread that asked first, the others get their connection."""
    begun, over = threading.Event(), threading.Event()

    def work() -> None:
        assert begun.wait(BACKSTOP_S)
        try:
            proxy.thaw()
            assert store.get("k", LONG_S) == b"v"
            store.set("later", "l")
        finally:
            over.set()

    def handle(count: int) -> bool:
        begun.set()
        assert over.wait(BACKSTOP_S)
        return True

    working = Background(work)
    with handling(handle):
        assert store.get("later", LONG_S) == b"l"
    working.result()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_handler_starts_the_server_that_is_waited_for(
    free_port: int, protocol: str, host: str
) -> None:
    """A client that is being made is answered by the server that its thread's handler starts."""
    servers: list[Server] = []

    def handle(count: int) -> bool:
        servers.append(Server("127.0.0.1", free_port))
        TCPStore("127.0.0.1", free_port, timeout=LONG_S).set("preempted", "1")
        return True

    with handling(handle):
        store = open_store(f"tcp://{host}:{free_port}?protocol={protocol}", LONG_S)
    assert store.get("preempted") == b"1"
    servers[0].close()


@pytest.mark.parametrize("wait_in", ["open", "set"])
def test_the_handler_ends_what_holds_a_file(tmp_path: Path, wait_in: str) -> None:
    """A call that waits for another process's lock goes on when the handler has that one go on."""
    path = tmp_path / "store"
    holds = (
        "import fcntl, sys, struct\n"
        "file = open(sys.argv[1], 'r+b')\n"
        "lock = struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 1 << 62, 1, 0)\n"
        "fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    keeper = FileStore(path)
    stores: list[Store] = [FileStore(path, timeout=LONG_S)]
    with subprocess.Popen(
        [sys.executable, "-c", holds, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"

        def handle(count: int) -> bool:
            process.communicate("\n", timeout=BACKSTOP_S)
            stores[0].set("preempted", "1")
            FileStore(path, timeout=LONG_S).set("preempted", "2")
            return True

        with handling(handle):
            if wait_in == "open":
                stores.append(FileStore(path, timeout=LONG_S))
            else:
                stores[0].set("k", "v")
    assert stores[-1].get("preempted") == b"2"
    assert keeper.get("preempted") == b"2"


@pytest.mark.parametrize("rulebook", ["store", "server"])
def test_the_handler_shuts_a_rendezvous_down(rulebook: str, request: pytest.FixtureRequest) -> None:
    """In the middle of next_rendezvous, as a launcher does at SIGTERM: it does not wait for it."""
    with run_kept_by(rulebook, request) as run:
        node, other = run.nodes(2, 3)  # one too few
        events: list[str] = []

        def handle(count: int) -> bool:
            if count < 2:
                return False
            node.set_closed()
            events.append("closed")
            return True

        waiting = Background(other.next_rendezvous)
        with handling(handle), pytest.raises(RendezvousClosedError):
            node.next_rendezvous()
        with pytest.raises(RendezvousClosedError):
            waiting.result()
        assert events == ["closed"]


def test_the_handler_uses_the_line_of_a_node_that_joins(connect: Connect) -> None:
    """A join, and a subscription, of a run that the server keeps."""
    store = connect()
    rules = GroupSettings(2, 2, 3600.0, 3600.0, 3)
    nodes = [Node(f"host{number}", number + 1, 0) for number in range(2)]
    first, second = (RunClient(store, "run", node, rules, grace=3600.0) for node in nodes)
    joining: list[Background[object]] = []

    def bring_the_other(count: int) -> bool:
        assert first.keep_alive(LONG_S).known
        assert first.status(LONG_S).participants == 1
        joining.append(Background(second.join, 0, LONG_S))
        return True

    with handling(bring_the_other):
        placed = first.join(0, LONG_S)
    assert placed.outcome == "placed"
    joining[0].result()

    def close(count: int) -> bool:
        first.close_run(LONG_S)
        return True

    with handling(close):
        assert first.subscribe(placed.round, placed.changes, False, LONG_S).closed


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_handler_closes_the_store_and_raises(
    server: Server, connect: Connect, protocol: str
) -> None:
    """What it raised comes out of the interrupted call, not what the closed store says."""
    store = connect(protocol=protocol)

    def end(count: int) -> bool:
        store.close()
        raise StopError

    with pytest.raises(StopError), handling(end):
        store.get("missing", LONG_S)


# Its SIGTERM handler tells the others, by the store that the main thread waits with.
PREEMPTED = """\
import signal, sys
from rendezvous import TCPStore
store = TCPStore("127.0.0.1", int(sys.argv[1]), protocol=sys.argv[2], timeout=300)
def tell(number, frame):
    store.set("preempted", "1")
    print("told", flush=True)
signal.signal(signal.SIGTERM, tell)
print("ready", flush=True)
store.wait(["go on"])
print("done", flush=True)
"""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_preempted_process_tells_the_others(
    server: Server, connect: Connect, protocol: str
) -> None:
    """The whole thing, with a real SIGTERM: told at once, and the wait goes on."""
    store = connect()
    with PythonProcess(PREEMPTED, str(server.port), protocol) as process:
        assert process.line() == "ready"
        process.signal(signal.SIGTERM)
        assert process.line() == "told"
        assert store.get("preempted") == b"1"
        store.set("go on", "")
        assert process.line() == "done"
        assert process.end() == 0
