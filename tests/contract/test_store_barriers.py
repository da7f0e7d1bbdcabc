"""What barriers and clones mean: one suite that every store passes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.background import Background
from support.stores import Stores, refused

from rendezvous import Store, StoreTimeoutError, StoreValueError


def has_own_timeout(kind: str) -> bool:
    """A HashStore is its own clone."""
    return not kind.endswith(("hash", "duck"))


@pytest.mark.parametrize("shared", [False, True], ids=["own clients", "one client"])
def test_barrier_opens_when_all_have_come(stores: Stores, shared: bool) -> None:
    """Not earlier; for threads of one client and for several clients; the key counts them."""
    count = 8
    one = stores.client()
    clients = [one if shared else stores.client() for _ in range(count - 1)]
    entering = [Background(client.barrier, "b", count) for client in clients]
    entering[-1].let_block()
    assert all(e.running for e in entering)
    one.barrier("b", count)
    for e in entering:
        e.result()
    assert one.get("b") == str(count).encode()


def test_barrier_of_one_and_second_barrier(store: Store) -> None:
    """A barrier of one opens at once; another key is another barrier."""
    store.barrier("b", 1, 0)
    store.barrier("c", 1)
    with pytest.raises(StoreTimeoutError):
        store.barrier("d", 2, 0)


def test_barrier_that_times_out_says_how_many_came_and_keeps_them(stores: Stores) -> None:
    """The callers stay counted: when the missing one comes, it need not wait."""
    store = stores.client()
    for n in (1, 2):
        with pytest.raises(StoreTimeoutError, match=rf"barrier timed out .*: {n} of 3 .*b'"):
            store.barrier("b", 3, 0.01)
    assert store.get("b") == b"2"
    stores.client().barrier("b", 3, 0)
    assert store.get("b") == b"3"


def test_barrier_at_what_is_no_number(stores: Stores) -> None:
    """An error, and the value stays."""
    store = stores.client()
    store.set("b", "word")
    with refused(stores, StoreValueError, "'word' is no decimal 64-bit number"):
        store.barrier("b", 2)
    assert store.get("b") == b"word"


@pytest.mark.parametrize("world_size", [0, -1])
def test_barrier_of_nobody_is_refused(store: Store, world_size: int) -> None:
    """Without counting the caller."""
    with pytest.raises(ValueError, match=rf"world_size is {world_size}; .* at least 1"):
        store.barrier("b", world_size)
    assert not store.check(["b"])


def test_clone_is_the_same_store(stores: Stores) -> None:
    """It has the same keys and queues, the timeout of its origin, and then one of its own."""
    store = stores.client()
    store.set_timeout(7)
    clone = store.clone()
    assert type(clone) is type(store)
    assert clone.timeout == timedelta(seconds=7)
    clone.set("k", "v")
    assert store.get("k") == b"v"
    if stores.has_queues:
        clone.queue_push("q", "item")
        assert store.queue_pop("q") == b"item"
    if has_own_timeout(stores.kind):
        clone.set_timeout(9)
        assert store.timeout == timedelta(seconds=7)


def test_clone_works_while_its_origin_is_blocked(stores: Stores) -> None:
    """And the other way round; a clone of a clone too."""
    store = stores.client()
    clone = store.clone()
    getting = Background(store.get, "a").let_block()
    clone.clone().set("a", "1")
    assert getting.result() == b"1"
    getting = Background(clone.get, "b").let_block()
    store.set("b", "2")
    assert getting.result() == b"2"


def test_extended_api_is_there(store: Store) -> None:
    """What torch asks before it uses append, multi_get and multi_set."""
    assert store.has_extended_api()
