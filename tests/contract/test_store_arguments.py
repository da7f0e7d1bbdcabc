"""What every store takes and refuses: sizes, types, iterables, buffers and timeouts."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from support.background import Background
from support.stores import Stores, refused

from rendezvous import (
    Store,
    StoreLimitError,
)

KEY_BYTES_MAX = 16 * 1024
VALUE_BYTES_MAX = 64 * 1024 * 1024


def test_key_over_the_limit_is_refused(store: Store) -> None:
    """The limit is named, nothing is sent, and the store goes on working."""
    key = "k" * (KEY_BYTES_MAX + 1)
    for call in (
        lambda: store.set(key, ""),
        lambda: store.get(key, 0),
        lambda: store.add(key, 1),
        lambda: store.compare_set(key, "", ""),
        lambda: store.append(key, ""),
        lambda: store.delete_key(key),
        lambda: store.list_keys(key),
        lambda: store.check(["a", key]),
        lambda: store.wait([key], 0),
        lambda: store.multi_get([key], 0),
        lambda: store.multi_set([key], [""]),
    ):
        with pytest.raises(StoreLimitError, match=f"the limit is {KEY_BYTES_MAX}"):
            call()
    store.set("k", "v")
    assert store.num_keys() == 1


def test_value_over_the_limit_is_refused(stores: Stores, store: Store) -> None:
    """One byte over the limit is refused wherever a value goes; the limit itself is accepted."""
    if stores.is_in_etcd:
        refused_by_client_and_cluster(store)
        return
    value = b"v" * (VALUE_BYTES_MAX + 1)
    for call in (
        lambda: store.set("k", value),
        lambda: store.append("k", value),
        lambda: store.compare_set("k", value, ""),
        lambda: store.compare_set("k", "", value),
        lambda: store.multi_set(["a", "k"], ["", value]),
    ):
        with pytest.raises(StoreLimitError, match=f"the limit is {VALUE_BYTES_MAX}"):
            call()
    assert store.num_keys() == 0
    if stores.kind == "torch-libuv":  # takes 8 MiB a message
        with refused(stores, StoreLimitError, ""):
            store.set("k", value[:-1])
        assert not store.check(["k"])
        return
    store.set("k", value[:-1])
    if stores.kind == "torch-old":  # has no limit
        return
    with refused(stores, StoreLimitError, f"the limit is {VALUE_BYTES_MAX}"):
        store.append("k", "x")
    assert len(store.get("k")) == VALUE_BYTES_MAX


def refused_by_client_and_cluster(store: Store) -> None:
    """Etcd has a limit of its own, for requests; ours only spares it what is beyond all measure."""
    for size, limit in ((10 * 1024 * 1024 + 1, "the limit is 10485760"), (1_572_864, "1.5 MiB")):
        value = b"v" * size
        for call in (
            lambda value=value: store.set("k", value),
            lambda value=value: store.append("k", value),
            lambda value=value: store.compare_set("k", "", value),
            lambda value=value: store.multi_set(["a", "k"], ["", value]),
        ):
            with pytest.raises(StoreLimitError, match=limit):
                call()
    assert store.num_keys() == 0
    store.set("k", b"v" * 1_500_000)
    assert len(store.get("k")) == 1_500_000


def test_request_over_the_limit_is_refused(store: Store) -> None:
    """Too many keys, or keys too large together, are an error and not a lost connection."""
    too_many = ["k"] * 131_073
    with pytest.raises(StoreLimitError, match="131073 keys in one call; the limit is 131072"):
        store.check(too_many)
    too_large = [b"k" * (KEY_BYTES_MAX - 64)] * (256 * 1024 * 1024 // (KEY_BYTES_MAX - 64))
    for call in (store.check, lambda keys: store.wait(keys, 0), store.multi_get):
        with pytest.raises(StoreLimitError, match="bytes in one call; the limit is"):
            call(too_large)
    assert store.num_keys() == 0
    # The errors hold frames, and those what was encoded: half a GiB a call.
    gc.collect()


@pytest.mark.parametrize(
    "value",
    [
        bytearray(b"\x00v"),
        memoryview(b"\x00v"),
        memoryview(bytearray(b"\x00v")),
        memoryview(b"\x00-v-")[::2],
    ],
    ids=["bytearray", "memoryview", "of a bytearray", "with gaps"],
)
def test_values_may_be_buffers(store: Store, value: bytearray | memoryview) -> None:
    """Wherever a value is taken; what comes back is bytes."""
    read = bytes(value)
    store.set("set", value)
    store.append("append", value)
    store.multi_set(["many"], [value])
    assert store.multi_get(["set", "append", "many"]) == [read] * 3
    assert store.compare_set("set", value, "new") == b"new"
    assert store.compare_set("set", "new", value) == read
    assert store.compare_exchange("set", value, value) == (read, True)
    assert store.exchange("all", 0, 1, value) == [read]


def test_queues_and_versions_take_buffers(stores: Stores) -> None:
    """Of those stores that have them."""
    store = stores.client()
    value = bytearray(b"v")
    if stores.has_queues:
        store.queue_push("q", value)
        assert store.queue_pop("q") == b"v"
    if stores.has_versions:
        store.set("ttl", value, ttl=60)
        assert store.set_if_version("k", memoryview(value), 0)[1]
        assert store.multi_get(["ttl", "k"]) == [b"v", b"v"]


def test_a_buffer_is_the_callers_again_after_the_call(store: Store) -> None:
    """What is done to it then is not seen, and it can be resized."""
    value = bytearray(b"before")
    store.set("k", value)
    value[:] = b"after, and longer"
    assert store.get("k") == b"before"


def test_keys_and_values_come_from_any_iterable(store: Store) -> None:
    """As torch's stores take them: sets, generators, the views of a dict."""
    values: dict[str | bytes, str] = {"a": "1", b"b": "2"}
    store.multi_set(values.keys(), values.values())
    store.multi_set((key for key in ("c", "d")), iter(["3", "4"]))
    assert store.multi_get(values.keys()) == [b"1", b"2"]
    assert store.multi_get(key for key in "dcba") == [b"4", b"3", b"2", b"1"]
    for keys in ({"a", "b"}, frozenset({"a"}), values, values.keys(), iter("abcd"), map(str, "a")):
        store.wait(keys)
    assert store.check({"a", "b"})
    assert store.check(key for key in "abcd")
    assert not store.check({"a", "gone"})
    assert store.check(set())


def test_an_iterable_that_raises_is_the_callers_error(store: Store) -> None:
    """And nothing is set."""

    def keys() -> Iterator[str]:
        yield "a"
        raise OSError("no more")

    for call in (store.check, store.wait, store.multi_get, lambda k: store.multi_set(k, ["1"])):
        with pytest.raises(OSError, match="no more"):
            call(keys())
    assert store.num_keys() == 0


@pytest.mark.parametrize(
    "timeout",
    [timedelta.max, float("inf"), 1e300, 10**400, timedelta(days=40_000), 1e9],
    ids=["timedelta.max", "inf", "1e300", "10**400", "a century", "1e9"],
)
def test_an_enormous_timeout_is_none(stores: Stores, timeout: float | timedelta) -> None:
    """Of a call, and of the store; the call waits until it has what it waits for."""
    store = stores.client()
    store.set_timeout(timeout)
    assert store.timeout >= timedelta(days=365 * 30)
    waiting: list[Background[Any]] = [
        Background(store.get, "k", timeout),
        Background(store.wait, ["k"], timeout),
        Background(store.multi_get, ["k"]),
        Background(store.barrier, "barrier", 2, timeout),
        Background(store.exchange, "all", 0, 2, "zero", timeout),
    ]
    if stores.has_queues:
        waiting.append(Background(store.queue_pop, "q", True, timeout))
    if stores.has_versions:
        waiting.append(Background(store.watch, "k", 0, timeout))
    other = stores.client()
    other.set("k", "v")
    other.barrier("barrier", 2, timeout)
    assert other.exchange("all", 1, 2, "one", timeout) == [b"zero", b"one"]
    if stores.has_queues:
        other.queue_push("q", "item")
    for each in waiting:
        each.result()


@pytest.mark.parametrize(
    "wrong", [-1, -0.001, -1e300, -(10**400), timedelta.min, timedelta(-1), float("nan")]
)
def test_a_negative_timeout_is_refused(store: Store, wrong: float | timedelta) -> None:
    """As is one that is no number."""
    store.set("k", "v")
    for call in (
        lambda: store.get("k", wrong),
        lambda: store.wait(["k"], wrong),
        lambda: store.multi_get(["k"], wrong),
        lambda: store.barrier("b", 1, wrong),
        lambda: store.exchange("x", 0, 1, "v", wrong),
        lambda: store.set_timeout(wrong),
    ):
        with pytest.raises(ValueError, match="must not be negative"):
            call()


@pytest.mark.parametrize("wrong", [None, 1, 1.5, ["k"], object()])
def test_keys_and_values_of_another_type_are_refused(store: Store, wrong: Any) -> None:
    """The error says what is accepted and what came."""
    name = type(wrong).__name__
    for call in (
        lambda: store.set(wrong, "v"),
        lambda: store.set("k", wrong),
        lambda: store.get(wrong),
        lambda: store.compare_set("k", wrong, "v"),
        lambda: store.check([wrong]),
        lambda: store.multi_set(["k"], [wrong]),
    ):
        with pytest.raises(TypeError, match=f"must be str or bytes, not {name}"):
            call()
    assert store.num_keys() == 0


@pytest.mark.parametrize("wrong", [bytearray(b"k"), memoryview(b"k")])
def test_keys_are_no_buffers(store: Store, wrong: Any) -> None:
    """A key is what a dict could have."""
    for call in (lambda: store.set(wrong, "v"), lambda: store.check([wrong])):
        with pytest.raises(TypeError, match="must be str or bytes, not"):
            call()


@pytest.mark.parametrize("wrong", ["key", b"key", bytearray(b"key"), None, 1, object()])
def test_lists_of_keys_of_another_type_are_refused(store: Store, wrong: Any) -> None:
    """One string is not taken for a list of its letters."""
    for call in (store.check, store.wait, store.multi_get):
        with pytest.raises(TypeError, match="expected a list of str or bytes"):
            call(wrong)


@pytest.mark.parametrize("wrong", ["1", b"1", 1.0, None])
def test_amounts_of_another_type_are_refused(store: Store, wrong: Any) -> None:
    """Only whole numbers can be added."""
    with pytest.raises(TypeError, match="the amount of add must be an int, not"):
        store.add("n", wrong)
