"""How every store waits, times out, wakes and shares: one suite that all of them pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from support.background import Background
from support.stores import Stores

from rendezvous import Store, StoreTimeoutError

FOREVER_S = 1e9


def elapsed(call: Callable[[], object]) -> float:
    """The seconds that a call takes to time out."""
    begin = time.monotonic()
    with pytest.raises(StoreTimeoutError):
        call()
    return time.monotonic() - begin


def test_get_waits_for_another_client(stores: Stores) -> None:
    """A get that finds nothing returns what is set later."""
    getting = Background(stores.client().get, "k").let_block()
    assert getting.running
    stores.client().set("k", "later")
    assert getting.result() == b"later"


WRITES: dict[str, tuple[Callable[[Store], object], bytes]] = {
    "set": (lambda store: store.set("k", "v"), b"v"),
    "set empty": (lambda store: store.set("k", ""), b""),
    "add": (lambda store: store.add("k", 3), b"3"),
    "append": (lambda store: store.append("k", "v"), b"v"),
    "multi_set": (lambda store: store.multi_set(["j", "k"], ["u", "v"]), b"v"),
    "compare_set": (lambda store: store.compare_set("k", "", "v"), b"v"),
    "compare_exchange": (lambda store: store.compare_exchange("k", "", "v"), b"v"),
}


@pytest.mark.parametrize("write", WRITES)
def test_every_write_that_creates_wakes_all_who_wait(stores: Stores, write: str) -> None:
    """get, wait and multi_get of several clients return after any operation that makes the key."""
    call, value = WRITES[write]
    if write.startswith("compare") and stores.kind == "torch-old":
        stores.skip_on_torch("without libuv wakes nobody at a compare_set")
    reader, writer = stores.client(), stores.client()
    getting = [Background(stores.client().get, "k"), Background(reader.get, "k")]
    waiting = Background(reader.wait, ["k"])
    reading = Background(reader.multi_get, ["k", "k"]).let_block()
    call(writer)
    assert [g.result() for g in getting] == [value, value]
    waiting.result()
    assert reading.result() == [value, value]


def test_failed_compare_set_wakes_nobody(stores: Stores) -> None:
    """A compare_set that sets nothing leaves those who wait for the key waiting."""
    stores.skip_on_torch("with libuv wakes them")
    getting = Background(stores.client().get, "k")
    waiting = Background(stores.client().wait, ["k"]).let_block()
    writer = stores.client()
    assert writer.compare_set("k", "something", "v") == b"something"
    assert writer.compare_exchange("k", "something", "v") == (b"", False)
    waiting.let_block()
    assert getting.running
    assert waiting.running
    writer.set("k", "real")
    assert getting.result() == b"real"
    waiting.result()


def test_writes_of_other_keys_wake_nobody(stores: Stores) -> None:
    """Only the key itself counts, not one that begins like it."""
    getting = Background(stores.client().get, "k").let_block()
    writer = stores.client()
    for key in ("k2", "", "K", "/k"):
        writer.set(key, "wrong")
    getting.let_block()
    assert getting.running
    writer.set("k", "right")
    assert getting.result() == b"right"


def test_wait_needs_all_keys_at_once(stores: Stores) -> None:
    """A key that is deleted again before the others come counts as missing."""
    stores.skip_on_torch("counts keys down as they come, and not up when they go")
    waiting = Background(stores.client().wait, ["a", "b"]).let_block()
    writer = stores.client()
    writer.set("a", "1")
    writer.delete_key("a")
    writer.set("b", "1")
    waiting.let_block()
    assert waiting.running
    writer.set("a", "2")
    waiting.result()


def test_wait_takes_keys_in_any_order(stores: Stores) -> None:
    """Each key may come first; repeated keys count once."""
    waiting = Background(stores.client().wait, ["a", "b", "c", "a"]).let_block()
    writer = stores.client()
    for key in ("c", "a", "b"):
        assert waiting.running
        writer.set(key, "")
    waiting.result()


def test_multi_get_waits_and_reads_one_moment(stores: Stores) -> None:
    """All values are of the moment at which the last key came.

    In the c10d protocol waiting and reading are two requests: of one later moment.
    """
    reading = Background(stores.client().multi_get, ["a", "b"]).let_block()
    writer = stores.client()
    writer.set("a", "old")
    writer.multi_set(["a", "b"], ["new", "new"])
    writer.set("a", "newest")
    values = reading.result()
    if stores.speaks_c10d:
        assert values in ([b"new", b"new"], [b"newest", b"new"])
    else:
        assert values == [b"new", b"new"]


def test_multi_set_is_seen_whole(stores: Stores) -> None:
    """Nobody sees some of the values of a multi_set without the others."""
    keys = [f"k{i}" for i in range(100)]
    writer, reader = stores.client(), stores.client()

    def write() -> None:
        for i in range(100):
            writer.multi_set(keys, [str(i)] * len(keys))

    writing = Background(write)
    while writing.running:
        assert len(set(reader.multi_get(keys))) == 1
    writing.result()


def test_nothing_to_wait_for_is_there(store: Store) -> None:
    """Empty lists are ready, also at once."""
    store.wait([])
    store.wait([], 0)
    assert store.multi_get([], 0) == []


def test_a_deleted_key_is_waited_for_again(stores: Stores) -> None:
    """After a deletion a get waits for the next value."""
    store = stores.client()
    store.set("k", "first")
    store.delete_key("k")
    getting = Background(stores.client().get, "k").let_block()
    store.set("k", "second")
    assert getting.result() == b"second"


def test_timeout_names_what_is_missing(store: Store) -> None:
    """The error says what was waited for, and only what was not there."""
    store.set("here", "")
    # Over a store whose get takes no timeout, it is its wait that times out.
    with pytest.raises(StoreTimeoutError, match=r"(get|wait) timeout .*gone'"):
        store.get("gone", 0.01)
    with pytest.raises(StoreTimeoutError, match="2 of 3 keys were never set: ") as caught:
        store.wait(["gone", "here", "lost"], 0.01)
    assert "gone'" in str(caught.value)
    assert "lost'" in str(caught.value)
    assert "here'" not in str(caught.value)
    with pytest.raises(StoreTimeoutError, match=r"(multi_get|wait) timeout .*gone'"):
        store.multi_get(["gone"], 0.01)


@pytest.mark.parametrize("timeout", [0, 0.0, timedelta(0)])
def test_timeout_of_zero_is_now_or_never(store: Store, timeout: float | timedelta) -> None:
    """What is there is returned, what is not is a timeout at once; nothing waits for ever."""
    store.set("k", "v")
    assert store.get("k", timeout) == b"v"
    assert store.multi_get(["k"], timeout) == [b"v"]
    store.wait(["k"], timeout)
    for call in (
        lambda: store.get("gone", timeout),
        lambda: store.wait(["k", "gone"], timeout),
        lambda: store.multi_get(["gone"], timeout),
    ):
        with pytest.raises(StoreTimeoutError, match="gone"):
            call()


def test_store_with_a_timeout_of_zero_still_works(store: Store) -> None:
    """What waits for nobody has the time of a round trip, also when the store's timeout is 0."""
    store.set_timeout(0)
    store.set("k", "v")
    assert store.get("k") == b"v"
    assert store.add("n", 1) == 1
    assert store.check(["k"])
    assert store.delete_key("k")
    with pytest.raises(StoreTimeoutError):
        store.get("k")


@pytest.mark.parametrize("timeout", [0.05, timedelta(milliseconds=50), 0.0501])
def test_timeout_is_kept_to_the_millisecond(store: Store, timeout: float | timedelta) -> None:
    """A fraction of a second is neither cut to 0 nor rounded up to a second in what is said."""
    for call in (
        lambda: store.get("gone", timeout),
        lambda: store.wait(["gone"], timeout),
        lambda: store.multi_get(["gone"], timeout),
    ):
        begin = time.monotonic()
        with pytest.raises(StoreTimeoutError, match=r"timeout after 0\.\d+ s"):
            call()
        assert time.monotonic() - begin >= 0.05


def test_timeout_may_be_a_whole_number(store: Store) -> None:
    """An int is seconds."""
    assert elapsed(lambda: store.get("gone", 1)) >= 1


def test_timeout_of_the_store_is_the_default(store: Store) -> None:
    """set_timeout changes what calls without a timeout take; the property says it."""
    store.set_timeout(timedelta(milliseconds=30))
    assert store.timeout == timedelta(milliseconds=30)
    assert elapsed(lambda: store.get("gone")) >= 0.03
    assert elapsed(lambda: store.wait(["gone"])) >= 0.03
    assert elapsed(lambda: store.multi_get(["gone"])) >= 0.03
    store.set_timeout(2.5)
    assert store.timeout == timedelta(seconds=2.5)


@pytest.mark.parametrize("timeout", [FOREVER_S, float("inf"), timedelta.max, 2**40])
def test_very_long_timeouts_do_not_overflow(stores: Stores, timeout: float | timedelta) -> None:
    """A timeout of years waits, and does not end at once."""
    getting = Background(stores.client().get, "k", timeout).let_block()
    assert getting.running
    stores.client().set("k", "v")
    assert getting.result() == b"v"


@pytest.mark.parametrize("timeout", [-1, -0.001, timedelta(microseconds=-1), float("nan")])
def test_negative_timeouts_are_refused(store: Store, timeout: float | timedelta) -> None:
    """A timeout in the past is a mistake of the caller, also when the key is there."""
    store.set("k", "v")
    for call in (
        lambda: store.get("k", timeout),
        lambda: store.wait(["k"], timeout),
        lambda: store.multi_get(["k"], timeout),
        lambda: store.set_timeout(timeout),
    ):
        with pytest.raises(ValueError, match="timeout must not be negative"):
            call()


@pytest.mark.parametrize("timeout", ["1", b"1", True, [1]])
def test_timeouts_of_another_type_are_refused(store: Store, timeout: Any) -> None:
    """The error says what a timeout is."""
    with pytest.raises(TypeError, match=r"timedelta or a number of seconds, not \w+"):
        store.get("k", timeout)
    with pytest.raises(TypeError, match=r"timedelta or a number of seconds, not \w+"):
        store.set_timeout(timeout)


def test_a_blocked_call_holds_up_no_other(stores: Stores) -> None:
    """16 threads share one client; what one of them sets arrives while 15 are blocked."""
    store = stores.client()
    getting = [Background(store.get, f"k{i}") for i in range(15)]
    getting[-1].let_block()
    for i in range(15):
        Background(store.set, f"k{i}", str(i)).result()
    assert [g.result() for g in getting] == [str(i).encode() for i in range(15)]


def test_a_timed_out_call_leaves_nothing_behind(stores: Stores) -> None:
    """After timeouts, a later value reaches whoever waits then, and only them."""
    store = stores.client()
    for _ in range(20):
        with pytest.raises(StoreTimeoutError):
            store.get("k", 0.001)
    getting = Background(store.get, "k").let_block()
    stores.client().set("k", "v")
    assert getting.result() == b"v"
    assert store.get("k", 0) == b"v"


def test_concurrent_adds_lose_nothing(stores: Stores) -> None:
    """Every sum is returned once, whether threads share a client or have their own."""
    threads, adds = 8, 30 if stores.is_in_etcd else 100  # each waits for its disk
    shared, barrier = stores.client(), Barrier(threads)

    def add_many(store: Store) -> list[int]:
        barrier.wait()
        return [store.add("n", 1) for _ in range(adds)]

    own = [shared if i % 2 else stores.client() for i in range(threads)]
    running = [Background(add_many, store) for store in own]
    sums = [s for r in running for s in r.result()]
    assert sorted(sums) == list(range(1, threads * adds + 1))


def test_concurrent_exchanges_lose_nothing(stores: Stores) -> None:
    """Counting by compare_exchange counts every success exactly once."""
    if not stores.swaps_surely:
        pytest.skip("made of compare_set, which cannot tell who wrote the same value")
    threads, counts = 4, 50
    stores.client().set("n", "0")
    barrier = Barrier(threads)

    def count_many() -> None:
        store = stores.client()
        barrier.wait()
        value = store.get("n")
        for _ in range(counts):
            swapped = False
            while not swapped:
                wanted = str(int(value) + 1)
                value, swapped = store.compare_exchange("n", value, wanted)

    for r in [Background(count_many) for _ in range(threads)]:
        r.result()
    assert stores.client().get("n") == str(threads * counts).encode()


def test_concurrent_appends_keep_every_piece_whole(stores: Stores) -> None:
    """Pieces from several threads are all there, none torn apart."""
    store = stores.client()

    def append_many(letter: str) -> None:
        for _ in range(50):
            store.append("k", f"{letter * 7}|")

    for r in [Background(append_many, letter) for letter in "abcd"]:
        r.result()
    pieces = store.get("k").decode().split("|")[:-1]
    assert sorted(pieces) == sorted(letter * 7 for letter in "abcd" for _ in range(50))
