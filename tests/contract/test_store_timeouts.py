"""What a time-out says: one suite that every store passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.stores import Stores, answered, not_there

from rendezvous import Store

WAITS: dict[str, tuple[list[str], Callable[[Store], object]]] = {
    "get": (["gone"], lambda store: store.get("gone", 0.01)),
    "get now": (["gone"], lambda store: store.get("gone", 0)),
    "wait": (["gone", "lost"], lambda store: store.wait(["gone", "here", "lost"], 0.01)),
    "wait now": (["lost"], lambda store: store.wait(["here", "lost"], 0)),
    "multi_get": (["gone", "lost"], lambda store: store.multi_get(["here", "gone", "lost"], 0.01)),
    "queue_pop": (["gone"], lambda store: store.queue_pop("gone", timeout=0.01)),
    "watch": (["gone"], lambda store: store.watch("gone", 0, 0.01)),
    "barrier": (["gone"], lambda store: store.barrier("gone", 2, 0.01)),
    "barrier of ranks": (["gone"], lambda store: store.barrier("gone", 2, 0.01, rank=1)),
    "exchange": (["gone"], lambda store: store.exchange("gone", 1, 3, "", 0.01)),
}
NOW: dict[str, tuple[object, Callable[[Store], object]]] = {
    "get": (b"", lambda store: store.get("empty", 0)),
    "wait": (None, lambda store: store.wait(["empty"], 0)),
    "multi_get": ([b"full", b""], lambda store: store.multi_get(["full", "empty"], 0)),
    "exchange": ([b""], lambda store: store.exchange("alone", 0, 1, "", 0)),
}
RANKS = {"barrier of ranks": [0], "exchange": [0, 2]}


@pytest.mark.parametrize("operation", WAITS)
def test_a_timeout_names_what_is_missing_as_its_caller_knows_it(
    stores: Stores, operation: str
) -> None:
    """Keys without the prefix of a PrefixStore, ranks where ranks are waited for."""
    if operation == "queue_pop" and not stores.has_queues:
        pytest.skip("it has no queues")
    if operation == "watch" and not stores.has_versions:
        pytest.skip("it has no versions")
    store = stores.client()
    store.set("here", "")
    keys, call = WAITS[operation]
    error = not_there(lambda: call(store))
    assert "timeout" in str(error)
    assert error.keys == keys
    assert error.ranks == RANKS.get(operation, [])


@pytest.mark.parametrize("operation", NOW)
def test_an_empty_value_is_there_as_any_other(stores: Stores, operation: str) -> None:
    """A call without time to wait has it; on a busy machine it may have to ask again."""
    store = stores.client()
    store.multi_set(["empty", "full"], ["", "full"])
    value, call = NOW[operation]
    assert answered(lambda: call(store)) == value
    assert answered(lambda: call(store)) == value


def test_missing_keys_that_are_no_text_can_be_given_back(store: Store) -> None:
    """They are named as list_keys would."""
    error = not_there(lambda: store.wait([b"\xff", "plain"], 0.01))
    assert error.keys == ["\udcff", "plain"]
    store.multi_set(error.keys, ["1", "2"])
    assert store.get(b"\xff") == b"1"


def test_of_many_missing_keys_the_first_are_named(store: Store) -> None:
    """1,024 of them, so that an answer is not larger than its question."""
    keys = [f"k{i}" for i in range(1500)]
    assert not_there(lambda: store.wait(keys, 0.1)).keys == keys[:1024]
