"""PrefixStore over stores that are not ours, and stores that are written in Python."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import weakref
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.background import Background
from support.foreign import DerivedStore, DuckStore

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


class OddError(Exception):
    """Raised by a store, and known to nobody else."""


class Raises:
    """A store with get and set, which raise, and nothing else."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def set(self, key: str, value: bytes) -> None:
        raise self.error

    def get(self, key: str) -> bytes:
        raise self.error


class Few(Store):
    """Defines what it needs."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = HashStore()

    def get(self, key: str | bytes, timeout: Any = None) -> bytes:
        return self.inner.get(key, timeout)

    def compare_exchange(
        self, key: str | bytes, expected: str | bytes, desired: str | bytes
    ) -> tuple[bytes, bool]:
        return self.inner.compare_exchange(key, expected, desired)


def test_underlying_store_is_the_very_object() -> None:
    """However deep; the first that is no PrefixStore too."""
    for base in (HashStore(), DuckStore(HashStore()), DerivedStore(HashStore())):
        inner = PrefixStore("inner", base)
        outer = PrefixStore("outer", inner)
        assert inner.underlying_store is base
        assert outer.underlying_store is inner
        assert outer._underlying_non_prefix_store is base
        assert inner._underlying_non_prefix_store is base


def test_a_prefix_store_keeps_its_store_alive_and_no_longer() -> None:
    """The object goes with the last view of it."""
    store = DerivedStore(HashStore())
    gone = weakref.ref(store)
    view = PrefixStore("p", store)
    del store
    gc.collect()
    view.set("k", "v")
    assert view.get("k") == b"v"
    del view
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("wrong", [None, 1, "store", object(), [HashStore()]])
def test_what_is_no_store_is_refused(wrong: Any) -> None:
    """The error says what is missing."""
    with pytest.raises(TypeError, match=r"store|incompatible"):
        PrefixStore("p", wrong)


def test_a_missing_method_is_named() -> None:
    """With the class that lacks it; nothing is guessed."""
    store = PrefixStore("p", Raises(OddError()))
    calls: dict[str, Callable[[], object]] = {
        "add": lambda: store.add("k", 1),
        "compare_set": lambda: store.compare_set("k", "", "v"),
        "check": lambda: store.try_get("k"),
        "wait": lambda: store.wait(["k"]),
        "list_keys": lambda: store.delete_prefix(""),
        "watch": lambda: store.watch("k", 0),
        "set_if_version": lambda: store.set_if_version("k", "", 0),
        "queue_pop": lambda: store.queue_pop("q"),
        "barrier": lambda: store.barrier("b", 1),
        "clone": lambda: store.clone(timeout=1),
    }
    for name, call in calls.items():
        with pytest.raises(StoreUnsupportedError, match=rf"Raises\.{name}: .* no such method"):
            call()
    with pytest.raises(StoreUnsupportedError, match=r"Raises\.set: takes no ttl"):
        store.set("k", "v", ttl=1)
    assert not store.has_extended_api()


def test_exceptions_pass_through_unchanged() -> None:
    """The very object, with its traceback, whichever thread raises it."""
    error = OddError("odd")
    store = PrefixStore("outer", PrefixStore("p", Raises(error)))
    for _ in range(2):
        with pytest.raises(OddError) as caught:
            store.set("k", "v")
        assert caught.value is error
        assert any(entry.name == "set" for entry in caught.traceback)
    for calling in [Background(store.get, "k") for _ in range(8)]:
        with pytest.raises(OddError):
            calling.result()


def test_keyboard_interrupt_passes_through() -> None:
    """As it is no Exception."""

    class Interrupted(Raises):
        def get(self, key: str) -> bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PrefixStore("p", Interrupted(OddError())).get("k")


def test_a_store_that_returns_nonsense_is_an_error() -> None:
    """And no crash."""

    class Odd(DuckStore):
        def get(self, key: str, /) -> Any:
            return 7

        def multi_get(self, keys: list[str], /) -> Any:
            return 7

        def num_keys(self) -> Any:
            return "many"

    store = PrefixStore("p", Odd(HashStore()))
    with pytest.raises(TypeError, match="a value that a store returns must be str or bytes"):
        store.get("k")
    with pytest.raises(TypeError):
        store.multi_get(["k"])
    with pytest.raises(RuntimeError):
        store.num_keys()


def test_the_timeout_is_the_stores() -> None:
    """Set and read through any number of views; calls without one use it."""
    duck = DuckStore(HashStore())
    store = PrefixStore("outer", PrefixStore("p", duck))
    store.set_timeout(7)
    assert duck.timeout == store.timeout == timedelta(seconds=7)
    duck.set_timeout(timedelta(milliseconds=20))
    with pytest.raises(StoreTimeoutError):
        store.get("k")


def test_a_store_without_timeouts_has_that_of_its_view() -> None:
    """300 s, until it is set."""
    store = PrefixStore("p", Raises(OddError()))
    assert store.timeout == timedelta(seconds=300)
    store.set_timeout(5)
    assert store.timeout == timedelta(seconds=5)


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

        def compare_set(
            self, key: str | bytes, expected: str | bytes, desired: str | bytes
        ) -> bytes:
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
        assert each.delete_prefix("p/") == 4
        assert each.delete_prefix("k") == 1


def test_super_gives_what_the_base_makes() -> None:
    """An override may add to it."""

    class Counting(DerivedStore):
        def delete_prefix(self, prefix: str | bytes) -> int:
            return 100 + super(DerivedStore, self).delete_prefix(prefix)

    store = Counting(HashStore())
    store.set("a/1", "")
    assert PrefixStore("a", store).delete_prefix("") == 101


def test_a_derived_store_that_forgot_its_base() -> None:
    """Python's own error says what to call."""

    class Forgets(Store):
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match="__init__"):
        Forgets().get("k")


def test_ours_cannot_be_derived_from() -> None:
    """Only Store can."""
    for final in (HashStore, PrefixStore, FileStore, TCPStore, Server):
        with pytest.raises(TypeError, match="not an acceptable base type"):
            type("Derived", (final,), {})


def test_stores_are_not_pickled_or_copied(server: Server, tmp_path: Path) -> None:
    """Each says why, and what to do instead."""
    tcp = TCPStore("127.0.0.1", server.port)
    for thing, why in (
        (tcp, "a TCPStore cannot be pickled or copied: it holds a connection; .* host and port"),
        (FileStore(tmp_path / "store"), "a FileStore .* open file; .* the path"),
        (HashStore(), "a HashStore .* use a FileStore or a TCPStore"),
        (PrefixStore("p", tcp), "a PrefixStore .* the prefix"),
        (server, "a Server .* host and port"),
        (Few(), "a Few cannot be pickled or copied: it is a store of this process"),
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
