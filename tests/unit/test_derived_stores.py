"""Stores that are derived from Store: what they must have, and what is made of it."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.foreign import DerivedStore, Value

from rendezvous import (
    FileStore,
    HashStore,
    PrefixStore,
    Server,
    Store,
    StoreTimeoutError,
    StoreUnsupportedError,
    TCPStore,
)


class Few(Store):
    """Defines what it needs."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = HashStore()

    def get(self, key: str | bytes, timeout: Any = None) -> bytes:
        return self.inner.get(key, timeout)

    def compare_exchange(
        self, key: str | bytes, expected: Value, desired: Value
    ) -> tuple[bytes, bool]:
        return self.inner.compare_exchange(key, expected, desired)


def test_a_derived_store_is_a_store() -> None:
    """Its own methods win; the rest is made of them, or says that it is missing."""
    store = Few()
    assert isinstance(store, Store)
    assert store.compare_set("k", "", "v") == b"v"
    assert store.compare_set("k", "x", "w") == b"v"
    assert store.compare_set("gone", "x", "w") == b"x"
    assert store.get("k") == b"v"
    for call in (lambda: store.set("k", "v"), lambda: store.add("n", 1), store.num_keys):
        with pytest.raises(StoreUnsupportedError, match=r"Few\.\w+: .* no such method"):
            call()
    assert not store.has_extended_api()
    store.set_timeout(9)
    assert store.timeout == timedelta(seconds=9)
    assert "Few" in repr(store)


def test_what_a_derived_store_lacks_is_made_of_what_it_has() -> None:
    """Called on the object itself, and through a view."""

    class Some(DerivedStore):
        try_get = Store.try_get
        delete_prefix = Store.delete_prefix
        exchange = Store.exchange

        def compare_set(self, key: str | bytes, expected: Value, desired: Value) -> bytes:
            return self.inner.compare_set(key, expected, desired)

        compare_exchange = Store.compare_exchange

    store = Some(HashStore())
    view = PrefixStore("view", store)
    for each in (store, view):
        assert each.try_get("k") is None
        assert each.compare_exchange("k", "", "v") == (b"v", True)
        assert each.compare_exchange("k", "", "v") == (b"v", False)
        assert each.try_get("k") == b"v"
        assert each.exchange("p/x", 0, 1, "only") == [b"only"]
        with pytest.raises(StoreTimeoutError, match=r"1 of 2 ranks .*: 1\b"):
            each.exchange("p/y", 0, 2, "one", 0.01)
        assert each.delete_prefix("p/") == 6
        assert each.delete_prefix("k") == 1


def test_super_gives_what_the_base_makes() -> None:
    """An override may add to it."""

    class Counting(DerivedStore):
        def delete_prefix(self, prefix: str | bytes) -> int:
            return 100 + super(DerivedStore, self).delete_prefix(prefix)

    store = Counting(HashStore())
    store.set("a/1", "")
    assert PrefixStore("a", store).delete_prefix("") == 101


def test_a_derived_store_may_forget_its_base() -> None:
    """What the base keeps has a value from the start."""

    class Forgets(Store):
        def __init__(self) -> None:
            pass

    store = Forgets()
    assert store.timeout == timedelta(seconds=300)
    store.set_timeout(1)
    assert store.timeout == timedelta(seconds=1)
    with pytest.raises(StoreUnsupportedError, match="no such method"):
        store.get("k")


def test_stores_are_not_pickled_or_copied(server: Server, tmp_path: Path) -> None:
    """Each says why, and what to do instead."""
    tcp = TCPStore("127.0.0.1", server.port)
    for thing, why in (
        (tcp, "a TCPStore cannot be pickled or copied: it holds a connection; .* host and port"),
        (FileStore(tmp_path / "store"), "a FileStore .* open file; .* same path"),
        (HashStore(), "a HashStore .* use a FileStore or a TCPStore"),
        (PrefixStore("p", tcp), "a PrefixStore .* create the store and the view"),
        (server, "a Server .* host and port"),
        (Few(), "a Few cannot be pickled or copied: it belongs to this process"),
    ):
        calls: list[Callable[[], object]] = [
            *(functools.partial(pickle.dumps, thing, n) for n in range(6)),
            functools.partial(copy.copy, thing),
            functools.partial(copy.deepcopy, thing),
        ]
        for call in calls:
            with pytest.raises(TypeError, match=why):
                call()
    tcp.close()


def test_a_derived_store_may_be_pickled_if_it_knows_how() -> None:
    """Its own __reduce__ wins."""
    again = pickle.loads(pickle.dumps(Pickled("x")))
    assert isinstance(again, Pickled)
    assert again.name == "x"
    assert copy.copy(again).name == "x"


class Pickled(Store):
    """Knows what it was made of."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __reduce__(self) -> Any:
        return Pickled, (self.name,)
