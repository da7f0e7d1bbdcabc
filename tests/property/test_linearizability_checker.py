"""The checker of histories accepts what some order explains, and refuses what none does."""

from __future__ import annotations

import threading
import time
from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from property.linearizability import (
    NEVER,
    NOT_A_NUMBER,
    Call,
    Result,
    SearchLimitError,
    State,
    step,
    violations,
)
from property.recording import Recordable, from_json, play_together, record, to_json

from rendezvous import HashStore


def call(client: str, operation: str, *args: bytes, result: Result, at: tuple[int, int]) -> Call:
    return Call(client, operation, b"k", args, result, *at)


def get(client: str, value: bytes | None, *at: int) -> Call:
    return call(client, "get", result=value, at=(at[0], at[1]))


def put(client: str, value: bytes, *at: int) -> Call:
    return call(client, "set", value, result=None, at=(at[0], at[1]))


def swap(client: str, old: bytes, new: bytes, result: tuple[bytes, bool], *at: int) -> Call:
    return call(client, "compare_exchange", old, new, result=result, at=(at[0], at[1]))


def add(client: str, amount: int, result: int | str, *at: int) -> Call:
    return call(client, "add", b"%d" % amount, result=result, at=(at[0], at[1]))


def delete(client: str, result: bool, *at: int) -> Call:
    return call(client, "delete_key", result=result, at=(at[0], at[1]))


POSSIBLE = {
    "nothing": [],
    "one after another": [put("a", b"1", 0, 1), get("b", b"1", 2, 3), add("a", 2, 3, 4, 5)],
    "a read during a write sees it": [put("a", b"1", 0, 9), get("b", b"1", 1, 2)],
    "a read during a write does not see it": [put("a", b"1", 0, 9), get("b", None, 1, 2)],
    "reads of two writes at once": [
        put("a", b"1", 0, 9),
        put("b", b"2", 0, 9),
        get("c", b"2", 1, 2),
        get("c", b"1", 3, 4),
    ],
    "one of two swaps at once": [
        swap("a", b"", b"1", (b"2", False), 0, 9),
        swap("b", b"", b"2", (b"2", True), 0, 9),
    ],
    "adds at once in the other order": [add("a", 1, 3, 0, 9), add("b", 2, 2, 0, 9)],
    "a write that changes nothing may be wanted later": [
        put("a", b"1", 0, 1),
        put("b", b"1", 2, 9),
        add("c", 1, 2, 3, 4),
        get("d", b"1", 5, 6),
    ],
    "delete between": [put("a", b"1", 0, 1), delete("a", True, 2, 9), get("b", None, 3, 4)],
    "add to text, and to what is empty": [
        put("a", b"text", 0, 1),
        add("a", 1, NOT_A_NUMBER, 2, 3),
        put("a", b"", 4, 5),
        add("a", 1, NOT_A_NUMBER, 6, 7),
    ],
    "an unknown outcome that happened late": [
        put("a", b"1", 0, NEVER),
        get("b", None, 2, 3),
        get("b", b"1", 4, 5),
    ],
    "an unknown outcome that never happened": [put("a", b"1", 0, NEVER), get("b", None, 2, 3)],
}

IMPOSSIBLE = {
    "stale read": [put("a", b"1", 0, 1), put("a", b"2", 2, 3), get("b", b"1", 4, 5)],
    "read that goes back": [
        put("a", b"1", 0, 1),
        put("a", b"2", 2, 9),
        get("b", b"2", 3, 4),
        get("c", b"1", 5, 6),
    ],
    "missing after a write": [put("a", b"1", 0, 1), get("b", None, 2, 3)],
    "lost update": [add("a", 1, 1, 0, 5), add("b", 1, 1, 1, 6)],
    "lost write": [put("a", b"5", 0, 1), add("b", 1, 1, 2, 3)],
    "double swap": [
        swap("a", b"", b"1", (b"1", True), 0, 9),
        swap("b", b"", b"2", (b"2", True), 0, 9),
    ],
    "swap that failed against nobody": [swap("a", b"", b"1", (b"2", False), 0, 1)],
    "value never written": [put("a", b"1", 0, 9), get("b", b"3", 1, 2)],
    "value before it was written": [get("b", b"1", 0, 1), put("a", b"1", 2, 3)],
    "get after delete": [put("a", b"1", 0, 1), delete("a", True, 2, 3), get("b", b"1", 4, 5)],
    "double delete": [put("a", b"1", 0, 1), delete("a", True, 2, 9), delete("b", True, 2, 9)],
    "add to text": [put("a", b"text", 0, 1), add("b", 1, 1, 2, 3)],
    "add refused for no reason": [put("a", b"1", 0, 1), add("b", 1, NOT_A_NUMBER, 2, 3)],
    "an unknown outcome that happened twice": [
        add("a", 1, 0, 0, NEVER),
        get("b", b"1", 2, 3),
        get("b", b"2", 4, 5),
    ],
    "an unknown outcome before it was invoked": [get("b", b"1", 0, 1), put("a", b"1", 2, NEVER)],
}


@pytest.mark.parametrize("name", POSSIBLE)
def test_checker_accepts_what_some_order_explains(name: str) -> None:
    """Calls that overlap may have happened in any order; those of unknown outcome need not have."""
    assert list(violations(POSSIBLE[name])) == []


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_checker_refuses_what_no_order_explains(name: str) -> None:
    """The reason names the key and the calls that do not fit."""
    [violation] = violations(IMPOSSIBLE[name])
    assert violation.key == b"k"
    assert str(violation.stuck[0].result) in str(violation)


VALUES = st.sampled_from([b"1", b"2"])
SPANS = st.tuples(st.integers(0, 6), st.integers(0, 4)).map(lambda span: (span[0], sum(span)))
CALLS = st.one_of(
    st.builds(lambda v, at: get("a", v, *at), st.none() | VALUES, SPANS),
    st.builds(lambda v, at: put("b", v, *at), VALUES, SPANS),
    st.builds(lambda v, at: put("o", v, at[0], NEVER), VALUES, SPANS),
    st.builds(lambda n, at: add("c", 1, n, *at), st.sampled_from([1, 2, 3]), SPANS),
    st.builds(lambda there, at: delete("d", there, *at), st.booleans(), SPANS),
    st.builds(
        lambda old, new, now, done, at: swap("e", old, new, (new if done else now, done), *at),
        *(st.just(b"") | VALUES, VALUES, st.just(b"") | VALUES, st.booleans(), SPANS),
    ),
)


def explains(order: tuple[Call, ...]) -> bool:
    """Whether calls done in this order keep to their times and give their results."""
    if any(late.returned < early.invoked for early, late in combinations(order, 2)):
        return False
    state: State = None
    for made in order:
        result, state = step(state, made)
        if not made.is_open and result != made.result:
            return False
    return True


@settings(max_examples=500, deadline=None)
@given(st.lists(CALLS, max_size=5))
def test_checker_agrees_with_trying_all_orders(history: list[Call]) -> None:
    """Whatever the history: refused if and only if no order of its calls explains it."""
    closed = [made for made in history if not made.is_open]
    still_open = [made for made in history if made.is_open]
    possible = any(
        explains(order)
        for count in range(len(still_open) + 1)
        for happened in combinations(still_open, count)
        for order in permutations([*closed, *happened])
    )
    assert bool(list(violations(history))) is not possible


def test_checker_judges_keys_apart() -> None:
    """Only the key with the fault is named."""
    fine = [Call("a", "set", b"other", (b"1",), None, 0, 1)]
    [violation] = violations([*fine, *IMPOSSIBLE["stale read"]])
    assert violation.key == b"k"


def test_checker_says_when_it_gives_up() -> None:
    """Too many calls at once are an error, and not an answer."""
    writes = [put(f"c{number}", b"%d" % number, 0, 9) for number in range(16)]
    impossible = [*writes, get("reader", b"never written", 10, 11)]
    with pytest.raises(SearchLimitError, match="no decision after 1000 states"):
        list(violations(impossible, states_max=1000))


def test_recorded_calls_survive_the_way_between_processes() -> None:
    """A history is the same after it was written as JSON and read."""
    calls = [get("a", b"\x00\xff", 0, 1), *POSSIBLE["one of two swaps at once"]]
    assert from_json(to_json(calls)) == calls


class Wrapped:
    """A store that behaves; the base of those that don't."""

    def __init__(self, store: Recordable) -> None:
        self.store = store

    def get(self, key: bytes, timeout: float) -> bytes:
        return self.store.get(key, timeout)

    def set(self, key: bytes, value: bytes) -> None:
        self.store.set(key, value)

    def compare_exchange(self, key: bytes, expected: bytes, desired: bytes) -> tuple[bytes, bool]:
        return self.store.compare_exchange(key, expected, desired)

    def add(self, key: bytes, amount: int) -> int:
        return self.store.add(key, amount)

    def delete_key(self, key: bytes) -> bool:
        return self.store.delete_key(key)


class StaleNowAndThen(Wrapped):
    """Answers every fourth get of a key with what the get before it found."""

    def __init__(self, store: Recordable) -> None:
        super().__init__(store)
        self.gets = 0
        self.cache: dict[bytes, bytes] = {}

    def get(self, key: bytes, timeout: float) -> bytes:
        self.gets += 1
        if self.gets % 4 == 0 and key in self.cache:
            return self.cache[key]
        self.cache[key] = self.store.get(key, timeout)
        return self.cache[key]


class SwapInTwoSteps(Wrapped):
    """A compare_exchange of get and set; the others come between them."""

    def __init__(self, store: Recordable, meet: threading.Barrier) -> None:
        super().__init__(store)
        self.meet = meet

    def compare_exchange(self, key: bytes, expected: bytes, desired: bytes) -> tuple[bytes, bool]:
        current = self.store.get(key, 0)
        self.meet.wait()
        if current != expected:
            return current, False
        self.store.set(key, desired)
        return desired, True


class ForgetsAWrite(Wrapped):
    """Acknowledges every second set without doing it."""

    sets = 0

    def set(self, key: bytes, value: bytes) -> None:
        self.sets += 1
        if self.sets % 2 != 0:
            self.store.set(key, value)


def play_here(wrapper: type[Wrapped], history: int) -> list[Call]:
    shared = HashStore()
    stores: list[Recordable] = [wrapper(shared) for _ in range(4)]
    return play_together(stores, list("abcd"), [b"k", b"l"], f"fixed {history}")


@pytest.mark.parametrize("broken", [StaleNowAndThen, ForgetsAWrite])
def test_a_store_that_is_broken_now_and_then_is_found_out(broken: type[Wrapped]) -> None:
    """Recorded histories of a faulty store are refused; those of the store below it are not."""
    histories = range(20)
    assert any(list(violations(play_here(broken, number))) for number in histories)
    assert not any(list(violations(play_here(Wrapped, number))) for number in histories)


def test_a_swap_in_two_steps_is_found_out() -> None:
    """Two clients that both find what they expect both swap, which the checker refuses."""
    shared = HashStore()
    shared.set(b"k", b"old")
    meet = threading.Barrier(2)
    start = time.monotonic_ns()
    history = [Call("0", "set", b"k", (b"old",), None, start, start)]

    def run(name: str) -> None:
        store = SwapInTwoSteps(shared, meet)
        history.append(record(store, name, "compare_exchange", b"k", b"old", name.encode()))

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [c.result for c in history[1:]].count((b"a", True)) == 1
    assert len(list(violations(history))) == 1
