"""TCPStore when the network or the server fails: what is repeated, what is an error, and which."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable

import pytest
from support.background import Background
from support.process import PythonProcess, ServerProcess
from support.proxy import FaultProxy

from rendezvous import (
    Store,
    StoreConnectionError,
    StoreRestartedError,
    StoreTimeoutError,
    TCPStore,
)

Connect = Callable[..., TCPStore]
MIB = 1024 * 1024

READS: dict[str, tuple[Callable[[Store], object], object]] = {
    "get": (lambda store: store.get("k"), b"v"),
    "multi_get": (lambda store: store.multi_get(["k", "k"]), [b"v", b"v"]),
    "wait": (lambda store: store.wait(["k"]), None),
    "check": (lambda store: store.check(["k"]), True),
    "num_keys": (lambda store: store.num_keys(), 2),
    "list_keys": (lambda store: store.list_keys(), ["k", "n"]),
}
WRITES: dict[str, tuple[Callable[[Store], object], list[bytes]]] = {
    "set": (lambda store: store.set("k", "w"), [b"w", b"5"]),
    "append": (lambda store: store.append("k", "w"), [b"vw", b"5"]),
    "add": (lambda store: store.add("n", 1), [b"v", b"6"]),
    "compare_set": (lambda store: store.compare_set("k", "v", "w"), [b"w", b"5"]),
    "multi_set": (lambda store: store.multi_set(["k", "n"], ["w", "9"]), [b"w", b"9"]),
}


@pytest.fixture
def store(connect: Connect, proxy: FaultProxy) -> TCPStore:
    """A client behind the faulty network, with k = "v" and n = 5."""
    store = connect(proxy.port)
    store.multi_set(["k", "n"], ["v", "5"])
    return store


def test_bytes_may_come_one_by_one(connect: Connect, proxy: FaultProxy) -> None:
    """Requests and answers are understood however they are cut."""
    proxy.split_bytes = 1
    store = connect(proxy.port)
    getting = Background(store.get, "later")
    store.multi_set(["k", b"\xff"], ["v", b"\x00" * 300])
    assert store.multi_get(["k", b"\xff"]) == [b"v", b"\x00" * 300]
    assert store.compare_exchange("k", "v", "w") == (b"w", True)
    assert store.add("n", -5) == -5
    assert store.list_keys("n") == ["n"]
    with pytest.raises(ValueError, match="is not a decimal"):
        store.add("k", 1)
    store.set("later", "l")
    assert getting.result() == b"l"


def test_slow_network(connect: Connect, proxy: FaultProxy) -> None:
    """A delay of every packet slows calls down, and does nothing else."""
    proxy.delay_s = 0.02
    store = connect(proxy.port)
    store.set("k", b"v" * MIB)
    assert store.get("k") == b"v" * MIB


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("operation", [*READS, *WRITES])
def test_connection_lost_between_calls_is_not_noticed(
    store: TCPStore, proxy: FaultProxy, operation: str, reset: bool
) -> None:
    """The next call gets a new connection; nothing was in flight, so writes are safe too."""
    proxy.cut(reset=reset)
    time.sleep(0.001)  # who calls again within 0.1 ms does not look first
    if operation in READS:
        call, result = READS[operation]
        assert call(store) == result
    else:
        write, values = WRITES[operation]
        write(store)
        assert store.multi_get(["k", "n"]) == values
    assert proxy.connections == 2


@pytest.mark.parametrize("operation", READS)
def test_read_whose_answer_is_lost_is_repeated(
    store: TCPStore, proxy: FaultProxy, operation: str
) -> None:
    """The caller of a read does not learn that the connection broke."""
    call, result = READS[operation]
    proxy.cut_before_next_reply()
    assert call(store) == result
    assert proxy.connections == 2


@pytest.mark.parametrize("operation", [*WRITES, "delete_key"])
def test_write_whose_answer_is_lost_is_not_repeated(
    store: TCPStore, proxy: FaultProxy, operation: str
) -> None:
    """The error says that the write may have been applied; it was, once; the store goes on."""
    write: Callable[[Store], object] = lambda store: store.delete_key("k")  # noqa: E731
    values: list[bytes] = []
    if operation in WRITES:
        write, values = WRITES[operation]
    proxy.cut_before_next_reply()
    with pytest.raises(StoreConnectionError, match="it may or may not have been applied") as caught:
        write(store)
    assert operation in str(caught.value)
    assert f"127.0.0.1:{proxy.port}" in str(caught.value)
    if values:
        assert store.multi_get(["k", "n"]) == values
    else:
        assert store.list_keys() == ["n"]


@pytest.mark.parametrize("reset", [False, True])
def test_blocked_calls_survive_a_lost_connection(
    store: TCPStore, connect: Connect, proxy: FaultProxy, reset: bool
) -> None:
    """All threads that wait go on waiting, over one new connection."""
    blocked = [Background(store.get, f"later-{i}") for i in range(8)]
    blocked[-1].let_block()
    proxy.cut(reset=reset)
    blocked[-1].let_block()
    other = connect()
    other.multi_set([f"later-{i}" for i in range(8)], [str(i) for i in range(8)])
    assert [b.result() for b in blocked] == [str(i).encode() for i in range(8)]
    assert proxy.connections == 2


def test_large_answer_cut_in_the_middle_is_read_again(store: TCPStore, proxy: FaultProxy) -> None:
    """Half of an answer is thrown away with its connection."""
    value = bytes(range(256)) * (16 * MIB // 256)
    store.set("big", value)
    proxy.freeze()
    getting = Background(store.get, "big").let_block()
    proxy.thaw()
    proxy.cut(reset=True)
    assert getting.result() == value


def test_restarted_server_is_told_once(connect: Connect) -> None:
    """A server that came back empty is an error once; then the store serves on."""
    with ServerProcess() as process:
        store = connect(process.port)
        store.set("k", "v")
        process.kill()
        with ServerProcess(process.port):
            with pytest.raises(StoreRestartedError, match="its data is lost"):
                store.get("k")
            assert not store.check(["k"])
            store.set("k", "w")
            assert store.get("k") == b"w"


def test_restarted_server_is_told_to_who_waits(connect: Connect) -> None:
    """A get that was blocked when the server died learns that what it waits for may be lost."""
    with ServerProcess() as process:
        store = connect(process.port)
        getting = Background(store.get, "k").let_block()
        process.kill()
        with ServerProcess(process.port), pytest.raises(StoreRestartedError, match="restarted"):
            getting.result()


def test_restarted_server_is_told_to_every_call_that_began_before(connect: Connect) -> None:
    """All threads that wait learn it, not only the one that made the connection anew."""
    waits: list[Callable[[Store], object]] = [
        lambda store: store.get("k", 600),
        lambda store: store.wait(["k", "l"], 600),
        lambda store: store.multi_get(["k", "l"], 600),
        lambda store: store.watch("k", 0, 600),
    ]
    with ServerProcess() as process:
        store = connect(process.port, timeout=600)
        waiting = [Background(wait, store) for wait in waits * 2]
        waiting[-1].let_block()
        process.kill()
        with ServerProcess(process.port):
            for each in waiting:
                with pytest.raises(StoreRestartedError, match="its data is lost"):
                    each.result()
            store.set("k", "v")
            assert store.get("k") == b"v"


def test_a_timeout_says_how_long_the_caller_waited(store: TCPStore, proxy: FaultProxy) -> None:
    """Not how long the server did, which was asked again when the connection was made anew."""
    getting = Background(store.get, "never", 1.0)
    time.sleep(0.3)
    proxy.cut()
    with pytest.raises(StoreTimeoutError) as caught:
        getting.result()
    found = re.search(r"get timeout after ([0-9.]+) s: nobody has set", str(caught.value))
    assert found is not None
    assert float(found[1]) >= 1.0


@pytest.mark.parametrize("operation", [*READS, *WRITES])
def test_server_that_is_gone(connect: Connect, operation: str) -> None:
    """Without a server every call fails within its timeout, and says where it looked."""
    with ServerProcess() as process:
        store = connect(process.port, timeout=0.2)
        process.kill()
    call = READS[operation][0] if operation in READS else WRITES[operation][0]
    with pytest.raises(StoreConnectionError, match=f"127.0.0.1:{process.port}"):
        call(store)


def test_server_that_dies_under_a_blocked_call(connect: Connect) -> None:
    """A blocked call tries to get its server back until its own timeout has passed."""
    with ServerProcess() as process:
        store = connect(process.port)
        getting = Background(store.get, "never", 1.0).let_block()
        process.kill()
        with pytest.raises(StoreConnectionError, match="no store could be reached"):
            getting.result()
        assert getting.elapsed_s >= 1.0


# In a network of its own, where connections have the choice of two ports, one the server's.
CONNECTS_TO_ITSELF = """\
import subprocess
from pathlib import Path
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
ports = Path("/proc/sys/net/ipv4/ip_local_port_range")
ports.write_text("40000 40001")
from rendezvous import Server, StoreConnectionError, TCPStore

try:
    TCPStore("127.0.0.1", 40000, timeout=0.5)
except StoreConnectionError as error:
    print("nothing listens there" in str(error), flush=True)
ports.write_text("40000 40100")
with Server("127.0.0.1", 40000):
    TCPStore("127.0.0.1", 40000, timeout=60).ping()
print("served", flush=True)
"""


@pytest.mark.skipif(
    not (shutil.which("ip") and shutil.which("unshare"))
    or subprocess.run(["unshare", "-rn", "true"], check=False, capture_output=True).returncode != 0,
    reason="this needs a network name space of its own",
)
def test_client_before_its_server_does_not_connect_to_itself() -> None:
    """The kernel may give a client the very port that it connects to.

    That is no store, and must not keep the server from its port.
    """
    with PythonProcess(CONNECTS_TO_ITSELF, before=("unshare", "-rn")) as process:
        assert process.line() == "True"
        assert process.line() == "served"
        assert process.end() == 0, process.stderr
