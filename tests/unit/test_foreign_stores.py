"""PrefixStore over stores that are not ours, and stores that are written in Python."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from support.background import Background
from support.foreign import DerivedStore, DuckStore, SixOps

from rendezvous import (
    FileStore,
    HashStore,
    PrefixStore,
    Server,
    Store,
    StoreTimeoutError,
    StoreUnsupportedError,
    StoreValueError,
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


def test_none_is_no_store() -> None:
    """As torch says it; most likely somebody's default."""
    with pytest.raises(ValueError, match="the store is None"):
        PrefixStore("p", None)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [1, "store", object(), [HashStore()]])
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
    with pytest.raises(StoreUnsupportedError, match=r"Raises\.set: does not support ttl"):
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
    with pytest.raises(TypeError, match="a value returned by a store must be str or bytes"):
        store.get("k")
    with pytest.raises(TypeError):
        store.multi_get(["k"])
    with pytest.raises(RuntimeError):
        store.num_keys()


class Holder(SixOps):
    """Has a view of itself, as stores of two key spaces do."""

    def __init__(self) -> None:
        super().__init__()
        self.view = PrefixStore("outer", PrefixStore("view", self))


class DuckHolder(DuckStore):
    """The same, and no Store."""

    def __init__(self) -> None:
        super().__init__(HashStore())
        self.view = PrefixStore("view", self)


@pytest.mark.parametrize("kind", [Holder, DuckHolder])
def test_a_store_that_holds_a_view_of_itself_is_freed(kind: Callable[[], Any]) -> None:
    """By the garbage collector, which sees the circle."""
    store = kind()
    store.view.set("k", "v")
    assert store.view.get("k") == b"v"
    gone = weakref.ref(store), weakref.ref(store.view)
    del store
    gc.collect()
    assert [each() for each in gone] == [None, None]


def test_an_error_with_a_traceback_into_a_store_is_freed() -> None:
    """The store that raised it goes with it."""
    store = SixOps()
    gone = weakref.ref(store)
    view = PrefixStore("p", store)
    with pytest.raises(StoreUnsupportedError) as caught:
        view.num_keys()
    del store, view, caught
    gc.collect()
    assert gone() is None


@pytest.fixture(params=["itself", "view", "view of a view"])
def six(request: pytest.FixtureRequest) -> Store:
    """A store of six operations, and views of it."""
    store: Store = SixOps()
    if request.param == "itself":
        return store
    store = PrefixStore("p", store)
    return store if request.param == "view" else PrefixStore("q", store)


def test_six_operations_are_enough(six: Store) -> None:
    """All that torch makes of them is made of them, and what we can."""
    six.set("k", "v")
    assert six.get("k") == b"v"
    assert six.try_get("k") == b"v"
    assert six.try_get("gone") is None
    six.append("k", "w")
    six.append("k", "")
    six.append("new", "")
    six.append("new", "x")
    six.append("new", "x")
    assert six.multi_get(iter(["k", "new"])) == [b"vw", b"xx"]
    six.multi_set({"a": 0}.keys(), {"1"})
    six.multi_set(["b", "c"], [bytearray(b"2"), memoryview(b"")])
    assert six.multi_get(["a", "b", "c"], 5) == [b"1", b"2", b""]
    assert six.compare_set("a", "1", "2") == b"2"
    assert six.compare_exchange("a", "2", "3") == (b"3", True)
    assert six.compare_exchange("a", "2", "4") == (b"3", False)
    assert six.compare_exchange("gone", "2", "4") == (b"", False)
    assert six.add("n", 2) == 2
    assert six.check({"a", "b"})
    six.wait({"a", "b"}, 5)
    assert six.has_extended_api()
    missing: list[Callable[[], Any]] = [
        lambda: six.delete_key("k"),
        six.num_keys,
        lambda: six.watch("k", 0),
        six.clone,
    ]
    for call in (lambda: six.wait(["gone"], 0), lambda: six.multi_get(["gone"], 0.01)):
        with pytest.raises(StoreTimeoutError):
            call()
    with pytest.raises(StoreValueError, match="2 keys but 1 values"):
        six.multi_set(["a", "b"], ["1"])
    for ask in missing:
        with pytest.raises(StoreUnsupportedError, match=r"SixOps\.\w+: .*no such method"):
            ask()


def test_ranks_meet_over_six_operations(six: Store) -> None:
    """In barriers and exchanges; who is missing is named."""
    others = [Background(six.exchange, "x", rank, 3, f"{rank}", 60) for rank in (1, 2)]
    assert six.exchange("x", 0, 3, "0", 60) == [b"0", b"1", b"2"]
    for other in others:
        assert other.result() == [b"0", b"1", b"2"]
    waiting = [Background(six.barrier, "b", 3, 60) for _ in range(2)]
    six.barrier("b", 3, 60)
    for each in waiting:
        each.result()
    with pytest.raises(StoreTimeoutError, match=r"timeout.*: 2 of 3 ranks .*: 0, 2"):
        six.exchange("y", 1, 3, "one", 0.02)
    with pytest.raises(StoreTimeoutError, match=r"timeout.*: 1 of 2 have arrived"):
        six.barrier("c", 2, 0.02)
    with pytest.raises(StoreValueError, match="world_size is 0"):
        six.barrier("d", 0)
    with pytest.raises(StoreValueError, match="rank 3 is not between 0 and 2"):
        six.exchange("z", 3, 3, "v")


def test_appends_of_several_threads_are_all_there(six: Store) -> None:
    """What one adds, no other takes away."""
    letters = "abcdefgh"
    for appending in [Background(six.append, "k", letter) for letter in letters]:
        appending.result()
    assert sorted(six.get("k").decode()) == list(letters)


def test_a_store_as_torchs_tests_write_one() -> None:
    """With get that takes no timeout, and values that must be bytes."""

    class Torchlike(Store):
        def __init__(self) -> None:
            super().__init__()
            self.values: dict[str, bytes] = {}

        def set(self, key: str, value: bytes) -> None:
            assert isinstance(key, str)
            assert type(value) is bytes
            self.values[key] = value

        def get(self, key: str) -> bytes:
            return self.values.get(key, b"")

        def add(self, key: str, value: int) -> int:
            new = int(self.values.get(key, 0)) + value
            self.set(key, str(new).encode())
            return new

        def compare_set(self, key: str, expected: bytes, new: bytes) -> bytes:
            assert type(expected) is type(new) is bytes
            value = self.values.get(key)
            if value is None or value == expected:
                value = self.values[key] = new
            return value

    store = PrefixStore("p", Torchlike())
    store.set("k", "v")
    assert store.get("k") == b"v"
    assert store.add("n", 1) == store.add("n", 0) == 1
    assert store.compare_set("k", "v", "w") == b"w"
    assert store.compare_set("k", "v", "x") == b"w"
    store.multi_set(["a"], ["1"])
    assert store.get("a") == b"1"


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


def test_ours_cannot_be_derived_from() -> None:
    """Only Store can."""
    for final in (HashStore, PrefixStore, FileStore, TCPStore, Server):
        with pytest.raises(TypeError, match="not an acceptable base type"):
            type("Derived", (final,), {})
