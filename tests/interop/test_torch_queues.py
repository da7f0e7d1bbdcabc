"""torch's TCPStore as a client of our server: queues, list_keys and barriers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from support.background import Background

from rendezvous import TCPStore

dist: Any = pytest.importorskip("torch.distributed", reason="needs torch")
if not dist.is_available():
    pytest.skip("this torch was built without torch.distributed", allow_module_level=True)

Connect = Callable[..., TCPStore]
TIMEOUT = timedelta(seconds=60)
SHORT = timedelta(milliseconds=50)


def needs(operation: str) -> pytest.MarkDecorator:
    """Skips a test where torch is older than one of its store's operations."""
    return pytest.mark.skipif(
        not hasattr(dist.TCPStore, operation), reason=f"this torch's store has no {operation}"
    )


pytestmark = needs("queue_push")


@pytest.fixture
def connect_torch(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """connect_torch(**options): torch's client of the server."""
    port = request.getfixturevalue("server").port

    def make(**options: Any) -> Any:
        return dist.TCPStore(
            "127.0.0.1", port, **{"is_master": False, "timeout": TIMEOUT, **options}
        )

    return make


@pytest.fixture
def store(connect_torch: Callable[..., Any]) -> Any:
    """A torch client of our server."""
    return connect_torch()


def test_items_come_out_in_the_order_they_went_in(store: Any, connect: Connect) -> None:
    """Whichever of the clients pushes or pops."""
    native = connect()
    store.queue_push("q", "1")
    assert store.queue_len("q") == 1  # a round trip: torch's pushes have no answer
    native.queue_push("q", "2")
    store.queue_push("q", b"\x00\xff")
    store.queue_push("q", "")
    assert store.queue_len("q") == native.queue_len("q") == 4
    assert native.queue_pop("q") == b"1"
    assert store.queue_pop("q") == b"2"
    assert native.queue_pop("q") == b"\x00\xff"
    assert store.queue_pop("q", block=False) == b""
    assert store.queue_len("q") == 0


def test_pop_of_an_empty_queue(store: Any) -> None:
    """torch's own error without block; with it, its timeout; then the store goes on."""
    with pytest.raises(dist.QueueEmptyError):
        store.queue_pop("q", block=False)
    store.set_timeout(SHORT)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="timeout"):
            store.queue_pop("q")
    store.queue_push("q", "1")
    assert store.queue_pop("q") == b"1"


def test_a_push_ends_a_blocked_pop(store: Any, connect: Connect) -> None:
    """torch's, by our client; and ours, by torch's."""
    native = connect()
    popping = Background(store.queue_pop, "q").let_block()
    native.queue_push("q", "for torch")
    assert popping.result() == b"for torch"
    ours = Background(native.queue_pop, "q").let_block()
    store.queue_push("q", "for us")
    assert ours.result() == b"for us"


def test_blocked_torch_clients_get_one_item_each(
    connect_torch: Callable[..., Any], connect: Connect
) -> None:
    """Although torch's client waits first and pops then, none finds the queue empty."""
    count, native = 8, connect()
    for _ in range(5):
        clients = [connect_torch() for _ in range(count)]
        popping = [Background(client.queue_pop, "q") for client in clients]
        popping[-1].let_block()
        for i in range(count):
            native.queue_push("q", str(i))
        assert sorted(p.result() for p in popping) == [str(i).encode() for i in range(count)]
        assert native.queue_len("q") == 0


@pytest.mark.parametrize("torch_pops", [True, False], ids=["torch pops", "ours pop"])
def test_both_kinds_of_clients_push_while_one_kind_pops(
    connect_torch: Callable[..., Any], connect: Connect, torch_pops: bool
) -> None:
    """Each item is given once.

    torch's client waits, then pops, and raises QueueEmptyError when somebody else took the item in
    between: then it asks again. Nobody waits for ever.
    """
    count, items = 4, 50
    pushers = [connect_torch(), connect()] * (count // 2)
    poppers = [connect_torch() if torch_pops else connect() for _ in range(count)]

    def push(who: int) -> None:
        for i in range(items):
            pushers[who].queue_push("q", f"{who} {i}")

    def pop(client: Any) -> list[bytes]:
        taken: list[bytes] = []
        while len(taken) < items:
            with suppress(dist.QueueEmptyError):
                taken.append(client.queue_pop("q"))
        return taken

    popping = [Background(pop, client) for client in poppers]
    pushing = [Background(push, who) for who in range(count)]
    for one in pushing:
        one.result()
    taken = [item for one in popping for item in one.result()]
    assert sorted(taken) == sorted(
        f"{who} {i}".encode() for who in range(count) for i in range(items)
    )


def test_a_torch_client_that_gives_up_leaves_the_item_to_the_next(
    connect_torch: Callable[..., Any], connect: Connect
) -> None:
    """Its timeout cancels the wait, and the push wakes the one behind it."""
    impatient = connect_torch()
    impatient.set_timeout(SHORT)
    giving_up = Background(impatient.queue_pop, "q")
    patient = Background(connect_torch().queue_pop, "q").let_block()
    with pytest.raises(RuntimeError, match="timeout"):
        giving_up.result()
    connect().queue_push("q", "1")
    assert patient.result() == b"1"
    impatient.set_timeout(TIMEOUT)
    impatient.queue_push("q", "2")
    assert impatient.queue_pop("q") == b"2"


def test_a_torch_client_that_only_waits_leaves_the_turn_to_the_next(
    connect_torch: Callable[..., Any], connect: Connect
) -> None:
    """One woken client that does not pop holds up nobody, once it does anything else."""
    waiter = connect_torch()
    waiting = Background(waiter.wait, ["q"]).let_block()
    popping = Background(connect_torch().queue_pop, "q").let_block()
    connect().queue_push("q", "1")
    waiting.result()
    waiter.set("k", "v")
    assert popping.result() == b"1"


def test_check_and_wait_see_a_queue_with_items(store: Any, connect: Connect) -> None:
    """Values and queues together."""
    native = connect()
    assert not store.check(["q"])
    waiting = Background(store.wait, ["q", "k"]).let_block()
    native.queue_push("q", "1")
    native.set("k", "v")
    waiting.result()
    assert store.check(["q", "k"])
    assert store.num_keys() == 1


@needs("list_keys")
def test_list_keys(store: Any, connect: Connect) -> None:
    """Keys of both kinds of clients; no queues, and not the store's own keys."""
    assert store.list_keys() == []
    native = connect(world_size=1)
    native.set("ours", "1")
    store.set("theirs", "2")
    store.queue_push("q", "item")
    assert sorted(store.list_keys()) == native.list_keys() == ["ours", "theirs"]


@needs("barrier")
def test_barrier_of_both_kinds_of_clients(
    connect_torch: Callable[..., Any], connect: Connect
) -> None:
    """It opens when the last has come, whichever that is."""
    for name, last in (("b", connect), ("c", connect_torch)):
        clients = [connect_torch(), connect(), connect_torch(), connect()]
        entering = [Background(client.barrier, name, 5) for client in clients]
        entering[-1].let_block()
        assert all(e.running for e in entering)
        last().barrier(name, 5)
        for e in entering:
            e.result()
        assert connect().get(name) == b"5"


@needs("barrier")
def test_barrier_that_times_out_keeps_its_count(store: Any, connect: Connect) -> None:
    """torch cancels it; the store goes on, and the caller stays counted."""
    for n in (1, 2):
        with pytest.raises(RuntimeError):
            store.barrier("b", 4, SHORT)
        assert store.get("b") == str(n).encode()
    entering = Background(store.barrier, "b", 4, TIMEOUT).let_block()
    connect().barrier("b", 4, 0)
    entering.result()
    store.set("k", "v")
    assert store.get("k") == b"v"
