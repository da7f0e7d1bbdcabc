"""torch's own TCPStore as a client of our server: every operation, alone and beside our client."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from support.background import Background
from support.process import PythonProcess

from rendezvous import Server, Store, TCPStore

dist: Any = pytest.importorskip("torch.distributed", reason="needs torch")
if not dist.is_available():
    pytest.skip("this torch was built without torch.distributed", allow_module_level=True)

Connect = Callable[..., TCPStore]
MIB = 1024 * 1024
TIMEOUT = timedelta(seconds=60)
SHORT = timedelta(milliseconds=50)


@pytest.fixture(params=[True, False], ids=["libuv", "no libuv"])
def use_libuv(request: pytest.FixtureRequest) -> bool:
    """torch's client has this option, although only its server differs."""
    return bool(request.param)


@pytest.fixture
def connect_torch(request: pytest.FixtureRequest, use_libuv: bool) -> Callable[..., Any]:
    """connect_torch(port=the server's, **options): torch's client.

    It looks up the name of every address it connects to, which a bad name server makes slow.
    """

    def make(port: int | None = None, **options: Any) -> Any:
        if port is None:
            port = request.getfixturevalue("server").port
        options = {"is_master": False, "timeout": TIMEOUT, "use_libuv": use_libuv, **options}
        return dist.TCPStore("127.0.0.1", port, **options)

    return make


@pytest.fixture
def store(connect_torch: Callable[..., Any]) -> Any:
    """A torch client of our server."""
    return connect_torch()


def test_values(store: Any) -> None:
    """Text and bytes, also empty ones, come back as they were set."""
    store.set("k", "grüße")
    assert store.get("k") == "grüße".encode()
    store.set("k", b"\x00\xff")
    assert store.get("k") == b"\x00\xff"
    store.set("empty", "")
    assert store.get("empty") == b""


def test_counting(store: Any) -> None:
    """Sums come back, also negative ones, and are stored as text."""
    assert store.add("n", 40) == 40
    assert store.add("n", 2) == 42
    assert store.add("n", -50) == -8
    assert store.get("n") == b"-8"


def test_compare_set(store: Any) -> None:
    """All four cases answer as torch's own server does."""
    assert store.compare_set("k", "expected", "desired") == b"expected"
    assert not store.check(["k"])
    assert store.compare_set("k", "", "first") == b"first"
    assert store.compare_set("k", "other", "second") == b"first"
    assert store.compare_set("k", "first", "second") == b"second"
    assert store.get("k") == b"second"


def test_looking_deleting_counting_keys(store: Any) -> None:
    """check, delete_key and num_keys."""
    assert store.num_keys() == 0
    store.set("a", "1")
    store.set("b", "2")
    assert store.check(["a", "b"])
    assert not store.check(["a", "c"])
    assert store.num_keys() == 2
    assert store.delete_key("a")
    assert not store.delete_key("a")
    assert store.num_keys() == 1


def test_extended_operations(store: Any) -> None:
    """append, multi_get and multi_set."""
    assert store.has_extended_api()
    store.append("k", "one")
    store.append("k", "two")
    assert store.get("k") == b"onetwo"
    store.multi_set(["a", "b"], ["1", ""])
    assert store.multi_get(["b", "k", "a"]) == [b"", b"onetwo", b"1"]


def test_many_values_at_once(store: Any, connect: Connect) -> None:
    """16,000 pairs of 1 KiB in one multi_set, cut into small packets by the client."""
    keys = [f"key-{i:05}" for i in range(16_000)]
    values = [f"{i:05}".encode().ljust(1024, b".") for i in range(16_000)]
    store.multi_set(keys, values)
    assert store.num_keys() == 16_000
    assert store.multi_get(keys[::100]) == values[::100]
    assert connect().multi_get(keys) == values


@pytest.mark.parametrize("size", [8192, 8 * MIB - 1024, 40 * MIB])
def test_large_values(store: Any, connect: Connect, size: int) -> None:
    """More than torch's own server takes."""
    value = bytes(range(256)) * (size // 256)
    store.set("k", value)
    assert store.get("k") == value
    assert connect().get("k") == value


def test_long_keys(store: Any) -> None:
    """Keys up to torch's limit, and beyond it up to ours."""
    for size in (8191, 16 * 1024):
        store.set("k" * size, "v")
        assert store.get("k" * size) == b"v"


def test_wait_times_out_and_the_store_goes_on(store: Any) -> None:
    """A cancelled wait leaves the connection in step; the key may come later."""
    for _ in range(3):
        begin = time.monotonic()
        with pytest.raises(RuntimeError, match="timeout"):
            store.wait(["never", "k"], SHORT)
        assert time.monotonic() - begin >= SHORT.total_seconds()
        store.set("k", "v")
        assert store.get("k") == b"v"
    store.set_timeout(SHORT)
    with pytest.raises(RuntimeError, match="timeout"):
        store.get("never")
    store.set("never", "now")
    assert store.get("never") == b"now"


def test_waiting_for_our_client(store: Any, connect: Connect) -> None:
    """wait, get and multi_get of torch end with what our client writes."""
    waiting = Background(store.wait, ["a", "b"]).let_block()
    native = connect()
    native.add("a", 1)
    waiting.let_block()
    assert waiting.running
    native.compare_set("b", "", "2")
    waiting.result()
    getting = Background(store.get, "c").let_block()
    native.append("c", "3")
    assert getting.result() == b"3"
    reading = Background(store.multi_get, ["d", "e"]).let_block()
    native.multi_set(["d", "e"], ["4", "5"])
    assert reading.result() == [b"4", b"5"]


def test_failed_compare_set_of_ours_wakes_no_torch_client(store: Any, connect: Connect) -> None:
    """torch's get waits on for a value, and does not return an empty one."""
    getting = Background(store.get, "k").let_block()
    native = connect()
    assert native.compare_set("k", "expected", "desired") == b"expected"
    getting.let_block()
    native.set("k", "real")
    assert getting.result() == b"real"


def test_clone_works_while_a_wait_is_parked(store: Any) -> None:
    """A clone has its own connection: it sets what the other waits for."""
    waiting = Background(store.wait, ["k"]).let_block()
    clone = store.clone()
    assert clone.add("n", 1) == 1
    clone.set("k", "v")
    waiting.result()
    assert store.add("n", 1) == 2


def test_both_kinds_of_client_see_the_same_keys(store: Any, connect: Connect) -> None:
    """What torch prefixes on the wire, our client does not show, and the other way round."""
    native = connect()
    store.set("of torch", "1")
    native.set("ours", "2")
    assert native.list_keys() == ["of torch", "ours"]
    assert native.num_keys() == store.num_keys() == 2
    assert native.get("of torch") == b"1"
    assert store.get("ours") == b"2"
    assert store.add("n", 1) + native.add("n", 1) + store.add("n", 1) == 6
    assert store.delete_key("ours")
    assert not native.check(["ours"])


def test_prefix_stores(store: Any, connect: Connect) -> None:
    """torch's PrefixStore and ours mean the same keys."""
    from rendezvous import PrefixStore

    theirs = dist.PrefixStore("outer", dist.PrefixStore("inner", store))
    theirs.set("k", "v")
    assert theirs.get("k") == b"v"
    assert theirs.add("n", 3) == 3
    [ours, key] = [connect(), "inner/outer/k"]
    assert ours.list_keys() == [key, "inner/outer/n"]
    assert PrefixStore("outer", PrefixStore("inner", ours)).get("k") == b"v"


def test_our_master_waits_for_torch_workers(
    connect: Connect, connect_torch: Callable[..., Any], free_port: int
) -> None:
    """Both kinds of client count themselves in the same way."""
    master = Background(connect, free_port, world_size=3, is_master=True)
    worker = Background(connect_torch, free_port, world_size=3)
    assert worker.result().num_keys() == 1
    master.let_block()
    assert master.running
    assert connect(free_port, world_size=3).list_keys() == []
    master.result().set("k", "v")
    assert worker.result().get("k") == b"v"
    assert connect_torch(free_port, world_size=3).num_keys() == 2


def test_torch_worker_may_start_before_our_server(
    connect_torch: Callable[..., Any], free_port: int
) -> None:
    """torch's client tries again until our server is there."""
    connecting = Background(connect_torch, free_port).let_block()
    with Server("127.0.0.1", free_port):
        store = connecting.result()
        store.set("k", "v")
        assert store.get("k") == b"v"


def test_add_to_what_is_no_number_ends_the_connection(
    store: Any, connect: Connect, connect_torch: Callable[..., Any]
) -> None:
    """The protocol has no errors: that one client fails, and no other; nothing changes."""
    store.set("k", "text")
    with pytest.raises(RuntimeError):
        store.add("k", 1)
    assert connect().get("k") == b"text"
    assert connect_torch().get("k") == b"text"


def test_many_torch_clients(connect_torch: Callable[..., Any], connect: Connect) -> None:
    """A barrier of 32 clients, made of add and wait."""
    count = 32

    def enter(store: Any) -> None:
        if store.add("entered", 1) == count:
            store.set("open", "")
        store.wait(["open"])

    stores = [connect_torch() for _ in range(count)]
    for entering in [Background(enter, store) for store in stores]:
        entering.result()
    native: Store = connect()
    assert native.get("entered") == str(count).encode()


GLOO = """\
import os, sys
from datetime import timedelta
import torch
import torch.distributed as dist
port, rank = int(sys.argv[1]), int(sys.argv[2])
store = dist.TCPStore("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=100))
dist.init_process_group(
    "gloo", store=dist.PrefixStore("job", store), rank=rank, world_size=2,
    timeout=timedelta(seconds=100))
numbers = torch.tensor([rank + 1.0])
dist.all_reduce(numbers)
dist.barrier()
print(numbers.item(), flush=True)
dist.destroy_process_group()
"""


def test_process_group_over_our_server(server: Server, connect: Connect) -> None:
    """Two processes make a gloo process group over our server, and compute together."""
    pytest.importorskip("torch", reason="needs torch")
    with (
        PythonProcess(GLOO, str(server.port), "0", GLOO_SOCKET_IFNAME="lo") as first,
        PythonProcess(GLOO, str(server.port), "1", GLOO_SOCKET_IFNAME="lo") as second,
    ):
        assert first.line() == second.line() == "3.0"
        assert (first.end(), second.end()) == (0, 0)
    assert all(key.startswith("job/") for key in connect().list_keys())
