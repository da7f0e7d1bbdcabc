"""What `close` and `with` mean for every store: one suite that all of them pass."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.background import Background
from support.foreign import DerivedStore
from support.stores import Stores

from rendezvous import (
    FileStore,
    HashStore,
    PrefixStore,
    Store,
    StoreAddressInUseError,
    StoreClosedError,
    StoreConnectionError,
    open_store,
)

# What every store has.
CALLS: dict[str, Callable[[Store], Any]] = {
    "set": lambda store: store.set("k", "v"),
    "get": lambda store: store.get("k", 0),
    "try_get": lambda store: store.try_get("k"),
    "compare_set": lambda store: store.compare_set("k", "", "v"),
    "compare_exchange": lambda store: store.compare_exchange("k", "", "v"),
    "add": lambda store: store.add("n", 1),
    "check": lambda store: store.check(["k"]),
    "wait": lambda store: store.wait(["k"], 0),
    "delete_key": lambda store: store.delete_key("k"),
    "delete_prefix": lambda store: store.delete_prefix("k"),
    "num_keys": lambda store: store.num_keys(),
    "list_keys": lambda store: store.list_keys(),
    "append": lambda store: store.append("k", "v"),
    "multi_get": lambda store: store.multi_get(["k"], 0),
    "multi_set": lambda store: store.multi_set(["k"], ["v"]),
    "queue_push": lambda store: store.queue_push("q", "v"),
    "queue_pop": lambda store: store.queue_pop("q", False),
    "queue_len": lambda store: store.queue_len("q"),
    "barrier": lambda store: store.barrier("b", 1, 0),
    "exchange": lambda store: store.exchange("x", 0, 1, "v", 0),
    "watch": lambda store: store.watch("k", 0, 0),
    "set_if_version": lambda store: store.set_if_version("k", "v", 0),
    "clone": lambda store: store.clone(),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_closed_store_says_so(stores: Stores, name: str) -> None:
    """Whatever is asked of it; closing it again does nothing."""
    if name in ("watch", "set_if_version") and not stores.has_versions:
        pytest.skip("it has no versions, closed or not")
    store = stores.client()
    store.close()
    store.close()
    with pytest.raises(StoreClosedError, match="closed"):
        CALLS[name](store)


def test_with_closes_the_store(stores: Stores) -> None:
    """At the end of the block, also when that raises; the block has the very store."""
    store = stores.client()
    with store as same:
        assert same is store
        same.set("k", "v")
        assert same.get("k") == b"v"
    with pytest.raises(StoreClosedError):
        store.get("k", 0)
    with pytest.raises(OSError, match="mine"), stores.client() as other:
        raise OSError("mine")
    with pytest.raises(StoreClosedError):
        other.get("k", 0)


def test_others_go_on_when_one_closes(stores: Stores) -> None:
    """Other clients, a clone, and the store below a view; and the other way round."""
    store = stores.client()
    other = store.clone() if stores.kind == "hash" else stores.client()
    clone = store.clone()
    view = PrefixStore("view", other)
    store.set("k", "v")
    view.set("k", "of the view")
    store.close()
    assert clone.get("k") == other.get("k") == b"v"
    view.close()
    with pytest.raises(StoreClosedError, match="closed"):
        view.get("k", 0)
    assert other.get("view/k") == b"of the view"
    clone.close()
    assert other.get("k") == b"v"


def test_a_view_of_a_closed_store_says_so(stores: Stores) -> None:
    """It cannot be used without it."""
    base = stores.client()
    view = PrefixStore("view", base)
    base.close()
    with pytest.raises(StoreClosedError):
        view.set("k", "v")


@pytest.mark.parametrize("name", ["get", "wait", "queue_pop", "watch", "barrier", "exchange"])
def test_calls_that_wait_end_when_another_thread_closes_the_store(
    stores: Stores, name: str
) -> None:
    """At once, and say why; a write that was under way may have been applied."""
    if "etcd" in stores.kind or stores.kind.endswith(("derived", "duck")):
        pytest.skip("a store in Python lets them go on to their end")
    if name == "watch" and not stores.has_versions:
        pytest.skip("it has no versions")
    if name == "queue_pop" and not stores.has_queues:
        pytest.skip("it has no queues")
    store = stores.client()
    waits: dict[str, Callable[[], Any]] = {
        "get": lambda: store.get("k", timedelta.max),
        "wait": lambda: store.wait(["k"], timedelta.max),
        "queue_pop": lambda: store.queue_pop("q", True, timedelta.max),
        "watch": lambda: store.watch("k", 0, timedelta.max),
        "barrier": lambda: store.barrier("b", 2, timedelta.max),
        "exchange": lambda: store.exchange("x", 0, 2, "v", timedelta.max),
    }
    waiting = Background(waits[name]).let_block()
    store.close()
    with pytest.raises((StoreClosedError, StoreConnectionError), match="closed"):
        waiting.result()


def test_a_closed_store_can_be_asked_what_it_was(stores: Stores) -> None:
    """Its name and its timeout are no use of it."""
    store = stores.client()
    store.close()
    assert type(store).__name__ in repr(store)
    assert store.timeout > timedelta(0)


def open_files() -> int:
    """How many descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="nothing here counts descriptors")
def test_a_closed_file_store_lets_go_of_its_file(tmp_path: Path) -> None:
    """With the last call that is in it: another job may have the file then."""
    FileStore(tmp_path / "warm-up").close()
    before = open_files()
    store = FileStore(tmp_path / "store", job_id="one")
    view = PrefixStore("view", store)
    waiting = Background(view.wait, ["k"], timedelta.max).let_block()
    assert open_files() > before
    with pytest.raises(StoreAddressInUseError):
        FileStore(tmp_path / "store", job_id="two")
    store.close()
    with pytest.raises(StoreClosedError, match=r"FileStore .* closed"):
        waiting.result()
    assert open_files() == before
    with FileStore(tmp_path / "store", job_id="two") as other:
        assert other.num_keys() == 0
    assert open_files() == before


def test_what_open_store_has_made_is_closed_with_its_view(tmp_path: Path) -> None:
    """Nobody else could close it."""
    for url in ("hash:?prefix=p", f"file://{tmp_path}/store?prefix=p"):
        with open_store(url) as view:
            view.set("k", "v")
            below = view.underlying_store  # type: ignore[union-attr]
            clone = view.clone()
        with pytest.raises(StoreClosedError):
            below.get("p/k", 0)
        assert clone.get("k") == b"v"
        clone.close()


def test_a_clone_of_a_view_of_a_store_in_python_closes_what_it_has_made() -> None:
    """And not what its origin has."""
    closed = []

    class Closing(DerivedStore):
        def clone(self, timeout: object = None) -> DerivedStore:
            return Closing(self.inner)

        def close(self) -> None:
            closed.append(self)

    base = Closing(HashStore())
    view = PrefixStore("p", base)
    twin = view.clone()
    view.close()
    assert closed == []
    twin.close()
    assert closed == [twin.underlying_store]
    assert twin.underlying_store is not base


def test_many_threads_use_a_store_that_is_closed(tmp_path: Path) -> None:
    """Each call is done, or says that the store is closed; several may close it."""
    for store in (HashStore(), FileStore(tmp_path / "store")):

        def use(store: Store = store) -> int:
            for count in itertools.count():
                try:
                    store.add("n", 1)
                except StoreClosedError:
                    return count
            raise AssertionError

        clone = store.clone()
        using = [Background(use) for _ in range(4)]
        clone.wait(["n"], 60)
        closing = [Background(store.close) for _ in range(3)]
        for each in closing:
            each.result()
        assert sum(each.result() for each in using) == int(clone.get("n"))
        clone.close()
