"""All-gather: one suite that every store passes."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import Any

import pytest
from support.background import Background
from support.stores import Stores, not_there

from rendezvous import (
    Store,
    StoreError,
    StoreTimeoutError,
    StoreValueError,
)


def test_all_ranks_get_the_values_of_all(stores: Stores) -> None:
    """By rank, once the last has come; text and bytes, empty ones too."""
    values: list[str | bytes] = ["zero", b"\x00\xff", "", "drei"]
    running = [
        Background(stores.client().exchange, "x", rank, 4, values[rank]) for rank in (3, 1, 0)
    ]
    running[-1].let_block()
    assert all(one.running for one in running)
    expected = [b"zero", b"\x00\xff", b"", b"drei"]
    assert stores.client().exchange("x", 2, 4, "") == expected
    for one in running:
        assert one.result() == expected


def test_threads_of_one_client_exchange(stores: Stores) -> None:
    """None of them holds up another."""
    store = stores.client()
    running = [Background(store.exchange, "x", rank, 8, str(rank)) for rank in range(8)]
    for one in running:
        assert one.result() == [b"%d" % rank for rank in range(8)]


def test_exchange_of_one(store: Store) -> None:
    """Is complete at once."""
    assert store.exchange("x", 0, 1, "alone", 0) == [b"alone"]


def test_values_stay_at_their_keys(store: Store) -> None:
    """So that who comes later can look: the values by rank, the count at the key."""
    with pytest.raises(StoreTimeoutError):
        store.exchange("x", 1, 2, "b", 0)
    store.exchange("x", 0, 2, "a")
    assert store.multi_get(["x/0", "x/1", "x"]) == [b"a", b"b", b"2"]


def test_a_rank_that_comes_again_counts_once(stores: Stores) -> None:
    """After a timeout it gives its value anew, and the exchange still needs all the others."""
    store = stores.client()
    for value in ("first", "second"):
        with pytest.raises(StoreTimeoutError, match="1 of 2 ranks"):
            store.exchange("x", 0, 2, value, 0.01)
    again = Background(store.exchange, "x", 0, 2, "third").let_block()
    assert again.running
    assert stores.client().exchange("x", 1, 2, "other") == [b"third", b"other"]
    assert again.result() == [b"third", b"other"]
    assert store.get("x") == b"2"


def test_a_second_exchange_at_a_key_is_told_that_it_was_used(stores: Stores) -> None:
    """It never mixes two rounds: the values of the first stay, for who asks for them again."""
    first = Background(stores.client().exchange, "x", 0, 2, "a1")
    assert stores.client().exchange("x", 1, 2, "b1") == [b"a1", b"b1"]
    assert first.result() == [b"a1", b"b1"]
    for rank, value in ((0, "a2"), (1, "b2"), (0, "")):
        with pytest.raises(StoreValueError, match=rf"rank {rank} gave another.*used before"):
            stores.client().exchange("x", rank, 2, value)
    assert stores.client().exchange("x", 0, 2, "a1") == [b"a1", b"b1"]
    assert stores.client().multi_get(["x/0", "x/1", "x"]) == [b"a1", b"b1", b"2"]


def test_an_exchange_of_another_world_size_is_refused(stores: Stores) -> None:
    """A third rank does not complete an exchange of two as one of three."""
    first = Background(stores.client().exchange, "x", 0, 2, "a")
    stores.client().exchange("x", 1, 2, "b")
    first.result()
    for rank in (0, 2):
        with pytest.raises(StoreValueError, match=r"the others' world_size is 2, not 3; .*used"):
            stores.client().exchange("x", rank, 3, "a")
    assert not stores.client().check(["x/2"])


def test_an_empty_value_may_be_replaced_until_all_have_come(stores: Stores) -> None:
    """And is another value afterwards, as any."""
    store = stores.client()
    not_there(lambda: store.exchange("x", 0, 2, "", 0))
    not_there(lambda: store.exchange("x", 0, 2, "full", 0))
    assert stores.client().exchange("x", 1, 2, "") == [b"full", b""]
    with pytest.raises(StoreValueError, match="used before"):
        store.exchange("x", 1, 2, "full")


def test_a_timeout_names_the_ranks_that_are_missing(store: Store) -> None:
    """And only them."""
    not_there(lambda: store.exchange("x", 0, 5, "", 0))
    not_there(lambda: store.exchange("x", 2, 5, "", 0))
    error = not_there(lambda: store.exchange("x", 3, 5, "", 0.02))
    assert re.search(r"exchange timeout after .*: 2 of 5 ranks .*x': 1, 4\b", str(error))
    assert (error.keys, error.ranks) == (["x"], [1, 4])


def test_a_long_list_of_missing_ranks_is_cut(store: Store) -> None:
    """It says how many more there are."""
    with pytest.raises(StoreTimeoutError, match=r"99 of 100 ranks .*: 1, 2, .*, 20 and 79 more"):
        store.exchange("x", 0, 100, "", 0.02)


@pytest.mark.parametrize("timeout", [0.05, timedelta(milliseconds=50)])
def test_timeouts_are_kept(store: Store, timeout: Any) -> None:
    """That of the call, and the store's for calls that have none."""
    begin = time.monotonic()
    with pytest.raises(StoreTimeoutError):
        store.exchange("x", 0, 2, "", timeout)
    assert time.monotonic() - begin >= 0.05
    store.set_timeout(timeout)
    begin = time.monotonic()
    with pytest.raises(StoreTimeoutError):
        store.exchange("y", 0, 2, "")
    assert time.monotonic() - begin >= 0.05
    with pytest.raises(ValueError, match="timeout must not be negative"):
        store.exchange("z", 0, 1, "", -1)


@pytest.mark.parametrize(
    ("rank", "world_size", "message"),
    [
        (0, 0, "world_size is 0; it must be at least 1"),
        (0, -1, "world_size is -1"),
        (-1, 2, "rank -1 is not between 0 and 1"),
        (2, 2, "rank 2 is not between 0 and 1"),
        (0, 131_073, "the limit is 131072"),
        (2**63, 2, "does not fit in 64 bits"),
        (0, 2**63, "does not fit in 64 bits"),
    ],
)
def test_ranks_that_cannot_be_are_refused(
    store: Store, rank: int, world_size: int, message: str
) -> None:
    """Without leaving anything behind."""
    with pytest.raises(StoreValueError, match=message):
        store.exchange("x", rank, world_size, "")
    assert store.num_keys() == 0


def test_a_key_that_counts_something_else_is_an_error(stores: Stores) -> None:
    """The value that is there stays."""
    store = stores.client()
    store.set("x", "word")
    with pytest.raises(StoreError):
        store.exchange("x", 0, 1, "", 0.05)
    assert store.get("x") == b"word"


def test_exchanges_at_several_keys_do_not_mix(stores: Stores) -> None:
    """Each key is an exchange of its own."""
    running = [
        Background(stores.client().exchange, key, rank, 2, f"{key}{rank}")
        for key in ("a", "b", "a/b")
        for rank in range(2)
    ]
    results = [one.result() for one in running]
    assert results == [
        [f"{key}{rank}".encode() for rank in range(2)] for key in ("a", "a", "b", "b", "a/b", "a/b")
    ]
