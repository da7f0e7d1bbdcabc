"""A signal's handler that uses the store whose call it interrupts: one suite for every store.

Nothing here looks at a clock. What the blocked call waits for is done by the handler itself, with
the same store object: if anything that the call holds were waited for, neither would go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from support.background import BACKSTOP_S, Background
from support.signals import PERIOD_S, handling
from support.stores import Stores

from rendezvous import Store

# Of the calls that are interrupted.
LONG_S = 300


@dataclass
class Blocking:
    """A call that waits, what ends it, and what it returns."""

    call: Callable[[Store], object]
    end: Callable[[Store], object]
    result: object = None
    needs: str = ""  # an attribute of Stores
    meets: bool = False  # who has not come yet is waited for in vain

    def period_s(self, stores: Stores) -> float:
        """Enough for the call to come, which over etcd is several requests."""
        return 0.5 if self.meets and stores.is_in_etcd else PERIOD_S


CALLS = {
    "wait": Blocking(lambda s: s.wait(["k", "l"], LONG_S), lambda s: s.multi_set([*"kl"], [*"vw"])),
    "get": Blocking(lambda s: s.get("k", LONG_S), lambda s: s.set("k", "v"), b"v"),
    "multi_get": Blocking(
        lambda s: s.multi_get(["k", "k"], LONG_S), lambda s: s.set("k", "v"), [b"v", b"v"]
    ),
    "queue_pop": Blocking(
        lambda s: s.queue_pop("q", timeout=LONG_S),
        lambda s: s.queue_push("q", "item"),
        b"item",
        "has_queues",
    ),
    # The handler is the second who comes, and waits, too.
    "barrier": Blocking(
        lambda s: s.barrier("b", 2, LONG_S), lambda s: s.barrier("b", 2, LONG_S), meets=True
    ),
    "exchange": Blocking(
        lambda s: s.exchange("e", 0, 2, "a", LONG_S),
        lambda s: s.exchange("e", 1, 2, "b", LONG_S),
        [b"a", b"b"],
        meets=True,
    ),
    "watch": Blocking(
        lambda s: s.watch("k", 0, LONG_S)[0], lambda s: s.set("k", "v"), b"v", "has_versions"
    ),
}


class StopError(Exception):
    """What a handler raises."""


@pytest.fixture(params=CALLS)
def blocking(request: pytest.FixtureRequest, stores: Stores) -> Blocking:
    found = CALLS[request.param]
    if found.needs and not getattr(stores, found.needs):
        pytest.skip(f"this kind of store has no {request.param}")
    return found


def test_the_handler_calls_the_store(stores: Stores, blocking: Blocking) -> None:
    """It reads, writes and waits with the store; the call that it interrupted goes on and ends."""
    store = stores.client()
    events: list[object] = []

    def handle(count: int) -> bool:
        # Whatever it finds, it is answered, again and again.
        store.set("preempted", str(count))
        assert store.get("preempted", LONG_S) == str(count).encode()
        store.wait(["preempted"], LONG_S)
        assert store.add("signals", 1) == count
        assert store.check(["preempted"])
        if count < 3:
            events.append(f"signal {count}")
            return False
        blocking.end(store)
        events.append("end")
        return True

    with handling(handle, blocking.period_s(stores)):
        assert blocking.call(store) == blocking.result
    events.append("returned")
    assert events == ["signal 1", "signal 2", "end", "returned"]


def test_a_handler_that_raises_ends_the_call(stores: Stores, blocking: Blocking) -> None:
    """Its exception comes out of the call, after the handler has used the store; both go on."""
    store = stores.client()

    def handle(count: int) -> bool:
        store.set("preempted", str(count))
        raise StopError

    with handling(handle, blocking.period_s(stores)), pytest.raises(StopError):
        blocking.call(store)
    assert store.get("preempted") == b"1"
    store.set("after", "w")
    assert store.get("after") == b"w"


def test_a_handler_that_takes_its_time_holds_up_no_other_thread(
    stores: Stores, blocking: Blocking
) -> None:
    """While it runs, threads that share the store are answered, and woken by others."""
    store = stores.client()
    store.set("there", "x")
    begun, over = threading.Event(), threading.Event()

    def work() -> None:
        assert begun.wait(BACKSTOP_S)
        try:
            for number in range(20):
                assert store.get("there") == b"x"
                store.set("n", str(number))
            assert store.get("from another", LONG_S) == b"y"
        finally:
            over.set()

    def handle(count: int) -> bool:
        begun.set()
        assert over.wait(BACKSTOP_S)
        blocking.end(store)
        return True

    def set_what_is_waited_for() -> None:
        assert begun.wait(BACKSTOP_S)
        stores.client().set("from another", "y")

    working, setting = Background(work), Background(set_what_is_waited_for)
    with handling(handle, blocking.period_s(stores)):
        assert blocking.call(store) == blocking.result
    working.result()
    setting.result()
