"""Versions, watching, times to live and prefixes: one suite that every store passes.

Stores that speak torch's protocol, or are torch's, have no versions: they say so.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from support.background import Background
from support.stores import Stores, refused

from rendezvous import (
    PrefixStore,
    Store,
    StoreKeysMissingError,
    StoreLimitError,
    StoreTimeoutError,
    StoreUnsupportedError,
    StoreValueError,
)

KEY_BYTES_MAX = 16 * 1024


@pytest.fixture
def versioned(stores: Stores) -> Stores:
    """Stores with versions; of the others, what they say instead is tested here."""
    if stores.has_versions:
        return stores
    store = stores.client()
    store.set("k", "before")
    for call in (
        lambda: store.watch("k", 0),
        lambda: store.watch("gone", 0, 0),
        lambda: store.set_if_version("k", "v", 0),
        lambda: store.set("k", "v", ttl=1),
    ):
        with pytest.raises(StoreUnsupportedError, match=r"watch|set"):
            call()
    assert store.get("k") == b"before"
    pytest.skip("has no versions, and says so")


def test_try_get_never_waits(stores: Stores) -> None:
    """The value now, empty ones too, or None; queues are no values."""
    store = stores.client()
    store.set_timeout(0)
    assert store.try_get("k") is None
    store.set("k", b"\x00\xff")
    store.set("empty", "")
    assert store.try_get("k") == b"\x00\xff"
    store.delete_key("k")
    assert store.try_get("k") is None
    # torch's server without libuv holds an empty value back for 0.2 s.
    store.set_timeout(60)
    assert store.try_get("empty") == b""
    assert stores.client().try_get("empty") == b""


def test_watch_of_nothing_waits_until_the_key_is_there(versioned: Stores) -> None:
    """And returns at once when it is."""
    watching = Background(versioned.client().watch, "k", 0).let_block()
    assert watching.running
    store = versioned.client()
    store.set("other", "v")
    watching.let_block()
    assert watching.running
    store.set("k", "v")
    value, version = watching.result()
    assert value == b"v"
    assert version > 0
    assert store.watch("k", 0, 0) == (b"v", version)


def test_watch_sees_the_next_change(versioned: Stores) -> None:
    """A watcher that knows a version waits for another one; for deletion too."""
    store = versioned.client()
    store.set("k", "one")
    _, version = store.watch("k", 0)
    for write, value in (
        (lambda: store.set("k", "two"), b"two"),
        (lambda: store.set("k", "two"), b"two"),
        (lambda: store.delete_key("k"), None),
        (lambda: store.append("k", "three"), b"three"),
    ):
        watching = Background(versioned.client().watch, "k", version).let_block()
        assert watching.running
        write()
        seen, after = watching.result()
        assert seen == value
        assert after != version
        version = after
    assert version != 0


def test_watch_returns_at_once_for_a_version_of_the_past(versioned: Stores) -> None:
    """Whatever happened between is seen as one change."""
    store = versioned.client()
    store.set("k", "one")
    _, version = store.watch("k", 0)
    store.set("k", "two")
    store.set("k", "three")
    assert store.watch("k", version, 0)[0] == b"three"
    store.delete_key("k")
    assert store.watch("k", version, 0) == (None, 0)


WRITES: dict[str, Callable[[Store], Any]] = {
    "set": lambda store: store.set("n", "1"),
    "set ttl": lambda store: store.set("n", "1", ttl=1000),
    "add": lambda store: store.add("n", 1),
    "append": lambda store: store.append("n", "0"),
    "compare_set": lambda store: store.compare_set("n", store.get("n"), "5"),
    "compare_exchange": lambda store: store.compare_exchange("n", store.get("n"), "5"),
    "multi_set": lambda store: store.multi_set(["n"], ["1"]),
    "set_if_version": lambda store: store.set_if_version("n", "7", store.watch("n", 0)[1]),
    "delete and add": lambda store: store.delete_key("n") and store.add("n", 1),
}


def test_every_write_gives_a_version_never_used_before(versioned: Stores) -> None:
    """Also one that writes the same value, and one after a deletion."""
    store = versioned.client()
    store.set("n", "1")
    versions = [store.watch("n", 0)[1]]
    for write in (*WRITES.values(), *WRITES.values()):
        write(store)
        versions.append(store.watch("n", 0)[1])
    assert 0 not in versions
    assert len(set(versions)) == len(versions)


def test_failed_writes_and_reads_leave_the_version(versioned: Stores) -> None:
    """Nobody is woken for nothing."""
    store = versioned.client()
    store.set("k", "word")
    _, version = store.watch("k", 0)
    store.compare_set("k", "other", "x")
    store.set_if_version("k", "x", version + 1)
    with pytest.raises(StoreValueError):
        store.add("k", 1)
    store.get("k")
    store.queue_push("k", "item")
    with pytest.raises(StoreTimeoutError, match=rf"k' still has version {version}"):
        store.watch("k", version, 0)
    with pytest.raises(StoreTimeoutError, match=r"watch timeout after .*gone' still has no"):
        store.watch("gone", 0, timedelta(milliseconds=20))


def test_set_if_version_sets_what_was_seen(versioned: Stores) -> None:
    """The answer is the version there now, and whether it was set; 0 stands for no value."""
    store = versioned.client()
    first, swapped = store.set_if_version("k", "one", 0)
    assert swapped
    assert first > 0
    assert store.set_if_version("k", "other", 0) == (first, False)
    second, swapped = versioned.client().set_if_version("k", "two", first)
    assert swapped
    assert store.set_if_version("k", "late", first) == (second, False)
    assert store.watch("k", 0, 0) == (b"two", second)
    store.delete_key("k")
    assert store.set_if_version("k", "late", second) == (0, False)
    assert not store.check(["k"])


def test_a_value_that_comes_back_has_another_version(versioned: Stores) -> None:
    """Unlike compare_set, set_if_version notices that somebody was there in between."""
    store = versioned.client()
    store.set("k", "a")
    _, version = store.watch("k", 0)
    store.set("k", "b")
    store.set("k", "a")
    assert store.set_if_version("k", "c", version)[1] is False
    assert store.compare_exchange("k", "a", "c") == (b"c", True)


@pytest.mark.parametrize("version", [-1, 2**64])
def test_a_version_that_is_none_is_refused(versioned: Stores, version: int) -> None:
    """Versions are what the store gave."""
    store = versioned.client()
    for call in (lambda: store.watch("k", version), lambda: store.set_if_version("k", "", version)):
        with pytest.raises(StoreValueError, match=f"{version} is not a version"):
            call()


def gone(store: Store, key: str) -> None:
    """Returns when the key is deleted. On a slow machine, it is before it is looked at."""
    try:
        value, version = store.watch(key, 0, 0.0)
    except StoreKeysMissingError:
        return
    while value is not None:
        value, version = store.watch(key, version)
    assert version == 0


@pytest.mark.parametrize("ttl", [0.05, timedelta(milliseconds=50)])
def test_a_key_with_a_time_to_live_is_deleted(versioned: Stores, ttl: Any) -> None:
    """For every operation, and every client; those who watch it are told."""
    store = versioned.client()
    store.set("stays", "")
    store.set("k", "v", ttl=ttl)
    gone(versioned.client(), "k")
    assert store.try_get("k") is None
    assert not store.check(["k"])
    assert store.list_keys() == ["stays"]
    assert store.num_keys() == 1
    assert store.delete_key("k") is False
    assert store.add("k", 1) == 1


def test_a_long_time_to_live_changes_nothing(versioned: Stores) -> None:
    """The key is like any other."""
    store = versioned.client()
    for key, ttl in (("a", 3600), ("b", timedelta.max), ("c", float("inf")), ("d", 1e300)):
        store.set(key, "v", ttl=ttl)
    assert store.multi_get(["a", "b", "c", "d"]) == [b"v"] * 4


@pytest.mark.parametrize("write", ["set", "compare_set", "multi_set", "set_if_version"])
def test_a_write_without_a_time_to_live_makes_a_key_permanent(
    versioned: Stores, write: str
) -> None:
    """Its first time to live passes without effect."""
    store = versioned.client()
    store.set("n", "1", ttl=0.2)
    WRITES[write](store)
    store.set("clock", "", ttl=0.3)
    gone(store, "clock")
    assert store.check(["n"])


@pytest.mark.parametrize("write", ["add", "append"])
def test_add_and_append_leave_the_time_to_live(versioned: Stores, write: str) -> None:
    """The key ends when it was to end."""
    store = versioned.client()
    store.set("n", "1", ttl=0.1)
    WRITES[write](store)
    gone(store, "n")


def test_a_time_to_live_can_be_set_again(versioned: Stores) -> None:
    """As a heartbeat does: only the last one counts."""
    store = versioned.client()
    store.set("k", "v", ttl=0.1)
    store.set("k", "v", ttl=3600)
    store.set("clock", "", ttl=0.2)
    gone(store, "clock")
    assert store.check(["k"])
    store.set("k", "v", ttl=0.05)
    gone(store, "k")


@pytest.mark.parametrize("ttl", [0, 0.0, timedelta(0), -1, timedelta(seconds=-1), float("nan")])
def test_a_time_to_live_of_nothing_is_refused(versioned: Stores, ttl: Any) -> None:
    """And the key stays as it was."""
    store = versioned.client()
    with pytest.raises(ValueError, match=r"ttl is 0 s|time to live must not be negative"):
        store.set("k", "v", ttl=ttl)
    assert not store.check(["k"])


@pytest.mark.parametrize("ttl", ["1", True, [1]])
def test_a_time_to_live_of_another_type_is_refused(store: Store, ttl: Any) -> None:
    """The error says what it is."""
    with pytest.raises(TypeError, match=r"time to live must be a datetime\.timedelta or a number"):
        store.set("k", "v", ttl=ttl)


def test_delete_prefix_deletes_what_begins_with_it(stores: Stores) -> None:
    """And nothing else; the answer is how many keys there were."""
    store = stores.client()
    for key in ["a/1", "a/2", "a", "ab", "b/a/1"]:
        store.set(key, "")
    assert store.delete_prefix("a/") == 2
    assert store.list_keys() == ["a", "ab", "b/a/1"]
    assert store.delete_prefix("a/") == 0
    assert store.delete_prefix("") == 3
    assert store.list_keys() == []


def test_delete_prefix_leaves_queues_and_neighbours(stores: Stores) -> None:
    """A PrefixStore deletes in its own name space alone."""
    base = stores.client()
    mine, other = PrefixStore("a", base), PrefixStore("ab", base)
    mine.set("k", "")
    other.set("k", "")
    if stores.has_queues:
        mine.queue_push("k", "item")
    assert mine.delete_prefix("") == 1
    assert other.check(["k"])
    if stores.has_queues:
        assert mine.queue_pop("k") == b"item"


def test_delete_prefix_tells_those_who_watch(versioned: Stores) -> None:
    """It is a deletion like any other."""
    store = versioned.client()
    store.set("p/k", "v")
    _, version = store.watch("p/k", 0)
    watching = Background(versioned.client().watch, "p/k", version).let_block()
    store.delete_prefix("p/")
    assert watching.result() == (None, 0)


def test_key_over_the_limit_is_refused(versioned: Stores) -> None:
    """As by every other operation."""
    store, key = versioned.client(), "k" * (KEY_BYTES_MAX + 1)
    for call in (
        lambda: store.try_get(key),
        lambda: store.watch(key, 0, 0),
        lambda: store.set_if_version(key, "", 0),
        lambda: store.set(key, "", ttl=1),
        lambda: store.delete_prefix(key),
        lambda: store.exchange(key, 0, 1, "", 0),
    ):
        with pytest.raises(StoreLimitError, match=f"the limit is {KEY_BYTES_MAX}"):
            call()
    assert store.num_keys() == 0


def test_values_over_the_limit_are_refused(versioned: Stores) -> None:
    """As by every other operation."""
    store, value = versioned.client(), b"v" * (64 * 1024 * 1024 + 1)
    for call in (
        lambda: store.set_if_version("k", value, 0),
        lambda: store.set("k", value, ttl=1),
        lambda: store.exchange("k", 0, 1, value, 0),
    ):
        with refused(versioned, StoreLimitError, "the limit is"):
            call()
    assert store.num_keys() == 0


@pytest.mark.parametrize("wrong", [None, 1, ["k"]])
def test_keys_and_values_of_another_type_are_refused(store: Store, wrong: Any) -> None:
    """As by every other operation."""
    for call in (
        lambda: store.try_get(wrong),
        lambda: store.watch(wrong, 0),
        lambda: store.set_if_version(wrong, "", 0),
        lambda: store.set_if_version("k", wrong, 0),
        lambda: store.delete_prefix(wrong),
        lambda: store.exchange(wrong, 0, 1, ""),
        lambda: store.exchange("k", 0, 1, wrong),
    ):
        with pytest.raises(TypeError, match=f"must be str or bytes, not {type(wrong).__name__}"):
            call()


@pytest.mark.parametrize("wrong", ["1", 1.0, None])
def test_numbers_of_another_type_are_refused(store: Store, wrong: Any) -> None:
    """The error says which number."""
    with pytest.raises(TypeError, match="a version must be an int"):
        store.watch("k", wrong)
    with pytest.raises(TypeError, match="a version must be an int"):
        store.set_if_version("k", "", wrong)
    with pytest.raises(TypeError, match="the rank of exchange must be an int"):
        store.exchange("k", wrong, 1, "")
    with pytest.raises(TypeError, match="the world_size of exchange must be an int"):
        store.exchange("k", 0, wrong, "")
    with pytest.raises(TypeError, match="the world_size of barrier must be an int"):
        store.barrier("k", wrong)
