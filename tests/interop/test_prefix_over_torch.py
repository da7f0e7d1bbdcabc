"""Our PrefixStore over torch's own stores, and torch's PrefixStore below ours."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.background import Background

from rendezvous import PrefixStore, StoreTimeoutError, StoreUnsupportedError

dist: Any = pytest.importorskip("torch.distributed", reason="needs torch")


def make_tcp(libuv: bool) -> Any:
    return dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, use_libuv=libuv)


KINDS: dict[str, Callable[[Path], Any]] = {
    "hash": lambda _: dist.HashStore(),
    "file": lambda path: dist.FileStore(str(path / "store"), 1),
    "tcp": lambda _: make_tcp(True),
    "tcp-old": lambda _: make_tcp(False),
    "prefix-hash": lambda _: dist.PrefixStore("theirs", dist.HashStore()),
    "prefix-tcp": lambda _: dist.PrefixStore("theirs", make_tcp(True)),
}


@pytest.fixture(params=KINDS)
def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """One of torch's stores."""
    return KINDS[request.param](tmp_path)


@pytest.fixture
def store(theirs: Any) -> PrefixStore:
    """Ours over it."""
    return PrefixStore("ours", theirs)


def test_both_see_the_same_values(store: PrefixStore, theirs: Any) -> None:
    """Under the prefix; bytes and text."""
    store.set("k", b"\x00\xff")
    assert theirs.get("ours/k") == b"\x00\xff"
    theirs.set("ours/m", "text")
    assert store.get("m") == b"text"
    assert store.try_get("m") == b"text"
    assert store.try_get("gone") is None
    assert store.underlying_store is theirs
    assert store.add("n", 2) == theirs.add("ours/n", 0) == 2
    store.append("k", "more")
    assert store.get("k") == b"\x00\xffmore"
    store.multi_set(["a", "b"], ["1", ""])
    assert store.multi_get(["b", "a"]) == [b"", b"1"]
    assert store.check(["a", "b"])
    assert not store.check(["a", "gone"])


def test_the_underlying_non_prefix_store(store: PrefixStore, theirs: Any) -> None:
    """Goes down through torch's PrefixStores too."""
    bottom = getattr(theirs, "_underlying_non_prefix_store", theirs)
    assert store._underlying_non_prefix_store is bottom
    assert PrefixStore("more", store)._underlying_non_prefix_store is bottom


def test_compare_and_exchange(store: PrefixStore) -> None:
    """compare_exchange is made of compare_set."""
    assert store.compare_exchange("k", "x", "y") == (b"", False)
    assert store.compare_exchange("k", "", "a") == (b"a", True)
    assert store.compare_exchange("k", "", "a") == (b"a", False)
    assert store.compare_exchange("k", "a", "a") == (b"a", True)
    assert store.compare_exchange("k", "x", "b") == (b"a", False)
    assert store.compare_set("k", "a", "b") == b"b"
    assert store.compare_set("gone", "x", "y") == b"x"


def test_keys_are_listed_and_deleted_by_prefix(store: PrefixStore, theirs: Any) -> None:
    """Only ours, also where torch's PrefixStore lists those of neighbours."""
    bottom = getattr(theirs, "_underlying_non_prefix_store", theirs)
    for neighbour in ("oursX/k", "theirsXours/k"):
        bottom.set(neighbour, "")
    for key in ("b", "a/2", "a/1"):
        store.set(key, "")
    assert store.list_keys() == ["a/1", "a/2", "b"]
    assert store.list_keys("a/") == ["a/1", "a/2"]
    assert store.delete_prefix("a/") == 2
    assert store.list_keys() == ["b"]


def test_waiting_and_timeouts(store: PrefixStore, theirs: Any) -> None:
    """torch's own errors pass through; 0 is now or never; long timeouts wait."""
    for timeout in (0.05, timedelta(milliseconds=50)):
        for call in (
            lambda: store.wait(["gone"], timeout),  # noqa: B023
            lambda: store.get("gone", timeout),  # noqa: B023
            lambda: store.multi_get(["gone"], timeout),  # noqa: B023
        ):
            with pytest.raises(RuntimeError, match=r"[Tt]imeout"):
                call()
    for call in (
        lambda: store.wait(["gone"], 0),
        lambda: store.get("gone", 0),
        lambda: store.multi_get(["gone"], 0),
    ):
        with pytest.raises(StoreTimeoutError):
            call()
    store.set("k", "v")
    assert store.get("k", 0) == store.get("k", 5) == store.get("k", float("inf")) == b"v"
    assert store.multi_get(["k"], 5) == [b"v"]
    store.set_timeout(2)
    assert theirs.timeout == store.timeout == timedelta(seconds=2)


def test_a_wait_ends_when_the_key_comes(tmp_path: Path) -> None:
    """Another thread's blocked call holds the GIL no longer than torch does."""
    store = PrefixStore("ours", dist.HashStore())
    waiting = Background(store.wait, ["k"], 60).let_block()
    store.set("k", "v")
    waiting.result()


def test_exchange_is_made_of_single_operations(store: PrefixStore, theirs: Any) -> None:
    """Over each of them; a timeout names the ranks."""
    twin = PrefixStore("ours", theirs.clone())
    one = Background(twin.exchange, "x", 1, 2, "one", 60)
    assert store.exchange("x", 0, 2, "zero", 60) == [b"zero", b"one"]
    assert one.result() == [b"zero", b"one"]
    with pytest.raises(StoreTimeoutError, match=r"1 of 2 ranks .*: 1\b"):
        store.exchange("y", 0, 2, "zero", 0.05)


def test_queues(store: PrefixStore) -> None:
    """torch's where it has them; its error where not."""
    if not isinstance(store.underlying_store, dist.HashStore):
        pytest.skip("one kind is enough for the adapter")
    store.queue_push("q", "1")
    assert store.queue_len("q") == 1
    assert store.queue_pop("q", timeout=5) == b"1"
    with pytest.raises(dist.QueueEmptyError):
        store.queue_pop("q", block=False)
    with pytest.raises(StoreTimeoutError, match="queue_pop timeout"):
        store.queue_pop("q", timeout=0.05)
    store.queue_push("q", "2")
    with pytest.raises(StoreTimeoutError):  # no value, although torch's check says so
        store.get("q", 0.05)
    assert store.try_get("q") is None


def test_what_torch_cannot_do_is_said(store: PrefixStore) -> None:
    """With the class that cannot."""
    for call in (
        lambda: store.watch("k", 0),
        lambda: store.set_if_version("k", "", 0),
        lambda: store.set("k", "", ttl=1),
    ):
        with pytest.raises(StoreUnsupportedError, match=r"Store\.(watch|set)"):
            call()
    assert store.has_extended_api() is store.underlying_store.has_extended_api()


def test_clone(store: PrefixStore) -> None:
    """Of the store below, with the same prefix."""
    twin = store.clone()
    assert isinstance(twin, PrefixStore)
    twin.set("k", "v")
    assert store.get("k", 60) == b"v"


def test_torchs_errors_pass_through(store: PrefixStore) -> None:
    """As the classes that torch raised them as."""
    store.set_timeout(0.05)
    with pytest.raises(RuntimeError) as caught:
        store.get("gone")
    assert not isinstance(caught.value, StoreTimeoutError)
