"""Our client in the c10d protocol, with the servers of torch's TCPStore."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from support.background import Background

from rendezvous import (
    QueueEmptyError,
    StoreConnectionError,
    StoreTimeoutError,
    StoreUnsupportedError,
    TCPStore,
)

pytest.importorskip("torch", reason="torch is not installed")
import torch.distributed as dist

TIMEOUT_S = 60.0
Connect = Callable[..., TCPStore]


@pytest.fixture(params=[True, False], ids=["libuv", "no-libuv"], scope="module")
def torch_store(request: pytest.FixtureRequest) -> Any:
    """A torch store that hosts a server of one of torch's two kinds."""
    return dist.TCPStore(
        "127.0.0.1",
        0,
        is_master=True,
        wait_for_workers=False,
        timeout=timedelta(seconds=TIMEOUT_S),
        use_libuv=request.param,
    )


@pytest.fixture
def libuv(torch_store: Any) -> bool:
    return bool(torch_store.libuvBackend)


@pytest.fixture
def store(torch_store: Any, connect: Connect) -> TCPStore:
    """Our client of torch's server, which is empty."""
    store = connect(torch_store.port, protocol="c10d")
    for key in store.list_keys():
        store.delete_key(key)
    return store


def test_values_cross(store: TCPStore, torch_store: Any) -> None:
    """What one side sets the other reads, also what is empty or larger than a socket's buffer."""
    big = b"b" * (4 * 1024 * 1024)
    for value in (b"v", b"", b"\x00\xff", big):
        store.set("k", value)
        assert torch_store.get("k") == value
        torch_store.set("k2", value)
        # torch's set is not acknowledged; the next answer on its connection says it was applied.
        torch_store.num_keys()
        assert store.get("k2") == value
    store.append("k", "more")
    assert torch_store.get("k") == big + b"more"


def test_single_operations(store: TCPStore, torch_store: Any) -> None:
    """Sums, keys and lists of keys are those of torch's client."""
    assert store.num_keys() == 0
    assert (store.add("n", 2), torch_store.add("n", 3), store.add("n", -1)) == (2, 5, 4)
    assert store.list_keys() == ["n"]
    assert store.check(["n"]) is True
    assert store.check(["n", "m"]) is False
    assert store.check([]) is True
    assert store.delete_key("n") is True
    assert store.delete_key("n") is False
    store.ping()


def test_many_keys(store: TCPStore, torch_store: Any) -> None:
    """multi_set and multi_get carry several keys, empty values among them."""
    store.multi_set(["a", "b", "p/c"], ["1", "", "3"])
    assert torch_store.multi_get(["a", "b"]) == [b"1", b""]
    assert store.multi_get(["p/c", "b", "a"]) == [b"3", b"", b"1"]
    assert store.multi_get([]) == []
    assert store.list_keys("p/") == ["p/c"]


def test_compare_exchange(store: TCPStore, torch_store: Any) -> None:
    """The answers say whether it swapped, although the protocol does not."""
    assert store.compare_exchange("k", "x", "y") == (b"", False)
    assert store.compare_exchange("k", "x", "x") == (b"", False)
    assert store.compare_exchange("k", "", "a") == (b"a", True)
    assert store.compare_exchange("k", "", "a") == (b"a", False)
    assert store.compare_exchange("k", "a", "a") == (b"a", True)
    assert store.compare_exchange("k", "a", "b") == (b"b", True)
    assert store.compare_exchange("k", "a", "c") == (b"b", False)
    assert torch_store.get("k") == b"b"


def test_waiting(store: TCPStore, torch_store: Any) -> None:
    """A call that waits holds up no other, and sees what torch's client sets."""
    calls: list[Background[Any]] = [
        Background(store.get, "k").let_block(),
        Background(store.wait, ["k", "m"]).let_block(),
        Background(store.multi_get, ["k", "m"]).let_block(),
    ]
    torch_store.set("k", "v")
    store.set("m", "w")
    assert [call.result() for call in calls] == [b"v", None, [b"v", b"w"]]


@pytest.mark.parametrize("timeout_s", [0, 0.05])
def test_timeouts(store: TCPStore, timeout_s: float) -> None:
    """A wait that is cancelled names what was missing, and its connection is used again."""
    store.set("there", "v")
    assert store.get("there", timeout_s) == b"v"
    for _ in range(3):
        with pytest.raises(StoreTimeoutError, match="nobody has set key 'k'"):
            store.get("k", timeout_s)
        with pytest.raises(StoreTimeoutError, match="1 of 2 keys were never set: 'k'"):
            store.wait(["there", "k"], timeout_s)
        with pytest.raises(StoreTimeoutError, match="1 of 2 keys were never set: 'k'"):
            store.multi_get(["there", "k"], timeout_s)
        with pytest.raises(StoreTimeoutError, match="have arrived at key"):
            store.barrier("door", 100, timeout_s)
    assert store.add("n", 1) == 1


def test_barrier(store: TCPStore, torch_store: Any) -> None:
    """Clients of both kinds meet at a barrier."""
    waiting = Background(store.barrier, "meet", 2).let_block()
    torch_store.barrier("meet", 2, timedelta(seconds=TIMEOUT_S))
    waiting.result()


def test_queues(store: TCPStore, torch_store: Any, libuv: bool) -> None:
    """Queues are torch's where its server has them, and an error says where it has not."""
    if not libuv:
        for call in (
            lambda: store.queue_push("q", "v"),
            lambda: store.queue_pop("q"),
            lambda: store.queue_len("q"),
        ):
            with pytest.raises(StoreUnsupportedError, match="use_libuv=False"):
                call()
        store.ping()
        return
    waiting = Background(store.queue_pop, "q").let_block()
    torch_store.queue_push("q", "first")
    assert waiting.result() == b"first"
    store.queue_push("q", "second")
    assert store.queue_len("q") == 1
    assert torch_store.queue_pop("q") == b"second"
    with pytest.raises(QueueEmptyError):
        store.queue_pop("q", block=False)
    with pytest.raises(StoreTimeoutError):
        store.queue_pop("q", timeout=0.05)


def test_refusal_ends_one_call(store: TCPStore) -> None:
    """A server hangs up at an add to what is no number: the error says why, the store goes on."""
    store.set("k", "text")
    with pytest.raises(StoreConnectionError, match="not a number"):
        store.add("k", 1)
    assert store.get("k") == b"text"


def test_processes_are_counted_in(torch_store: Any, connect: Connect) -> None:
    """With a world size our client adds itself to the count that torch's clients keep."""
    before = torch_store.num_keys()
    store = connect(torch_store.port, protocol="c10d", world_size=2)
    assert store.num_keys() - before in (0, 1)
    assert "init/" not in store.list_keys()
    other = store.clone()
    other.set("k", "v")
    assert store.get("k") == b"v"
