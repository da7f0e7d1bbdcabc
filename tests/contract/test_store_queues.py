"""What queues mean: one suite that every store passes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from support.background import Background
from support.stores import Stores

from rendezvous import QueueEmptyError, Store, StoreTimeoutError, StoreUnsupportedError, errors

HANG_S = 120.0


@pytest.fixture(autouse=True)
def has_queues(stores: Stores) -> None:
    """Without queues, each operation says so, and the store goes on."""
    if stores.has_queues:
        return
    store = stores.client()
    for call in (
        lambda: store.queue_push("q", "item"),
        lambda: store.queue_pop("q"),
        lambda: store.queue_pop("q", block=False),
        lambda: store.queue_len("q"),
    ):
        with pytest.raises(StoreUnsupportedError, match="use_libuv=False"):
            call()
    store.set("k", "v")
    pytest.skip("has no queues, and says so")


def elapsed(call: Callable[[], object]) -> float:
    """The seconds that a call takes to time out."""
    begin = time.monotonic()
    with pytest.raises(StoreTimeoutError):
        call()
    return time.monotonic() - begin


def test_items_come_out_in_the_order_they_went_in(stores: Stores) -> None:
    """First in, first out, between clients; text and bytes, also empty and large ones."""
    one, other = stores.client(), stores.client()
    items: list[str | bytes] = ["text", b"\x00\xff", "", "grüße", b"x" * 300_000]
    for item in items:
        one.queue_push("q", item)
    assert other.queue_len("q") == len(items)
    for item in items:
        assert other.queue_pop("q") == (item.encode() if isinstance(item, str) else item)
    assert one.queue_len("q") == 0


def test_queues_do_not_mix(store: Store) -> None:
    """Each key has a queue of its own."""
    for key in ("a", "b", b"a/b", ""):
        store.queue_push(key, b"of " + (key.encode() if isinstance(key, str) else key))
    assert store.queue_pop("b") == b"of b"
    assert store.queue_pop("") == b"of "
    assert store.queue_pop("a/b") == b"of a/b"
    assert store.queue_pop("a") == b"of a"


def test_pop_without_block_says_that_the_queue_is_empty(store: Store) -> None:
    """QueueEmptyError at once, whatever the timeout; it is a StoreError and no timeout."""
    for timeout in (None, 0, HANG_S):
        with pytest.raises(QueueEmptyError, match=r"q' is empty .*block=True") as caught:
            store.queue_pop("q", block=False, timeout=timeout)
        assert isinstance(caught.value, errors.StoreError)
        assert not isinstance(caught.value, TimeoutError)
    store.queue_push("q", "1")
    assert store.queue_pop("q", block=False) == b"1"
    with pytest.raises(QueueEmptyError):
        store.queue_pop("q", False)


def test_a_push_ends_a_blocked_pop(stores: Stores) -> None:
    """The item goes to who waits, and is not in the queue any more."""
    popping = Background(stores.client().queue_pop, "q").let_block()
    assert popping.running
    pusher = stores.client()
    pusher.queue_push("q", "later")
    assert popping.result() == b"later"
    assert pusher.queue_len("q") == 0


def test_a_value_ends_no_pop(stores: Stores) -> None:
    """Only items of that queue do."""
    popping = Background(stores.client().queue_pop, "q").let_block()
    writer = stores.client()
    writer.set("q", "a value")
    writer.queue_push("other", "item")
    popping.let_block()
    assert popping.running
    writer.queue_push("q", "item")
    assert popping.result() == b"item"
    assert writer.get("q") == b"a value"


@pytest.mark.parametrize("timeout", [0.05, timedelta(milliseconds=50)])
def test_pop_times_out(store: Store, timeout: float | timedelta) -> None:
    """The error names the queue; the store goes on."""
    begin = time.monotonic()
    with pytest.raises(StoreTimeoutError, match=r"queue_pop timeout .* pushed to queue '.*q'"):
        store.queue_pop("q", timeout=timeout)
    assert time.monotonic() - begin >= 0.05
    store.queue_push("q", "1")
    assert store.queue_pop("q") == b"1"


def test_pop_with_a_timeout_of_zero_is_now_or_never(store: Store) -> None:
    """Nothing waits for ever."""
    with pytest.raises(StoreTimeoutError):
        store.queue_pop("q", timeout=0)
    store.queue_push("q", "1")
    assert store.queue_pop("q", timeout=0) == b"1"


def test_timeout_of_the_store_is_the_default_of_pop_and_barrier(store: Store) -> None:
    """As for the other calls that wait."""
    store.set_timeout(0.03)
    assert elapsed(lambda: store.queue_pop("q")) >= 0.03
    assert elapsed(lambda: store.barrier("b", 2)) >= 0.03


def test_negative_timeouts_are_refused(store: Store) -> None:
    """Also when there is an item."""
    store.queue_push("q", "1")
    for call in (
        lambda: store.queue_pop("q", timeout=-1),
        lambda: store.barrier("b", 1, timeout=-1),
    ):
        with pytest.raises(ValueError, match="timeout must not be negative"):
            call()
    assert store.queue_len("q") == 1


def test_queues_are_no_keys(store: Store) -> None:
    """num_keys, list_keys, get and delete_key do not see them."""
    before = store.num_keys()
    store.queue_push("q", "item")
    assert store.num_keys() == before
    assert store.list_keys() == []
    with pytest.raises(StoreTimeoutError):
        store.get("q", 0)
    assert not store.delete_key("q")
    store.set("q", "value")
    assert store.get("q") == b"value"
    assert store.queue_pop("q") == b"item"


def test_check_and_wait_see_a_queue_with_items(stores: Stores) -> None:
    """Beside values; an empty queue is not there."""
    stores.skip_on_torch("never ends a wait for a queue with items and a missing key")
    store = stores.client()
    assert not store.check(["q"])
    # In the c10d protocol a wait for one key may be the first half of a pop, so that an item wakes
    # one of them and not all (docs/protocol.md).
    count = 1 if stores.speaks_c10d else 3
    waiting = [Background(stores.client().wait, ["q"]) for _ in range(count)]
    both = Background(stores.client().wait, ["q", "k"])
    both.let_block()
    store.queue_push("q", "item")
    for one in waiting:
        one.result()
    assert both.running
    store.set("k", "value")
    both.result()
    assert store.check(["q", "k"])
    store.queue_pop("q")
    assert not store.check(["q", "k"])
    with pytest.raises(StoreTimeoutError):
        store.wait(["q"], 0)


@pytest.mark.parametrize("shared", [False, True], ids=["own clients", "one client"])
def test_many_who_push_and_pop_give_each_item_once(stores: Stores, shared: bool) -> None:
    """Nothing is lost or given twice, and nobody sees one pusher's items out of order."""
    count, items = 4, 60
    one = stores.client()
    clients = [one if shared else stores.client() for _ in range(2 * count)]

    def push(who: int) -> None:
        for i in range(items):
            clients[who].queue_push("q", f"{who} {i}")

    def pop(who: int) -> list[tuple[int, int]]:
        taken = []
        for _ in range(items):
            pusher, number = clients[who].queue_pop("q", timeout=HANG_S).decode().split()
            taken.append((int(pusher), int(number)))
        return taken

    popping = [Background(pop, count + i) for i in range(count)]
    pushing = [Background(push, i) for i in range(count)]
    for one_push in pushing:
        one_push.result()
    taken = [one_pop.result() for one_pop in popping]
    for by_one in taken:
        for pusher in range(count):
            numbers = [number for who, number in by_one if who == pusher]
            assert numbers == sorted(numbers)
    assert sorted(item for by_one in taken for item in by_one) == [
        (who, i) for who in range(count) for i in range(items)
    ]
    assert one.queue_len("q") == 0


def test_a_pop_that_timed_out_takes_nothing(stores: Stores) -> None:
    """An item that comes later is for others."""
    store = stores.client()
    for _ in range(10):
        with pytest.raises(StoreTimeoutError):
            store.queue_pop("q", timeout=0.001)
    stores.client().queue_push("q", "1")
    assert store.queue_len("q") == 1
    assert store.queue_pop("q", timeout=0) == b"1"


def test_a_blocked_pop_and_barrier_hold_up_no_other_call(stores: Stores) -> None:
    """Threads of one client: all others go on."""
    store = stores.client()
    popping = Background(store.queue_pop, "q")
    entering = Background(store.barrier, "b", 2).let_block()
    done = threading.Event()

    def use() -> None:
        store.set("k", "v")
        store.queue_push("other", "x")
        store.queue_pop("other")
        done.set()

    Background(use).result()
    assert done.is_set()
    store.queue_push("q", "1")
    store.barrier("b", 2)
    assert popping.result() == b"1"
    entering.result()
