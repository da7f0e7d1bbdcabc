"""Decides whether a recorded history of concurrent calls could have happened one call at a time.

A history is linearizable if every call can be given a moment between its beginning and its end such
that calls done at these moments, one after another, give the recorded results. What a single key
does in sequence is `step`; keys do not depend on each other, so each is judged alone.

The search is Wing and Gong's, with Lowe's memory of states that led nowhere: put next any call that
began before every other open call ended, and go back when none fits. It is exponential in the
number of calls that overlap, not in the length of the history. It knows no store and no clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

NEVER = 2**63  # `returned` of a call whose end nobody saw
NOT_A_NUMBER = "not a number"  # the result of an add that was refused

State = bytes | None  # of a key; None: it is not there
Result = bytes | int | bool | str | tuple[bytes, bool] | None


@dataclass(frozen=True)
class Call:
    """One call on one key. Times are nanoseconds of a clock that all recorders share.

    operation and arguments -> result:
    get () -> value or None for a missing key; set (value) -> None;
    compare_exchange (expected, desired) -> (current, swapped);
    add (number as text) -> sum or NOT_A_NUMBER; delete_key () -> whether there was one.

    A call that failed with an unknown outcome has returned == NEVER, and no result counts: it may
    have taken effect at any time after it was invoked, or never.
    """

    client: str
    operation: str
    key: bytes
    arguments: tuple[bytes, ...]
    result: Result
    invoked: int
    returned: int

    @property
    def is_open(self) -> bool:
        return self.returned == NEVER

    @property
    def is_read(self) -> bool:
        """Whether it changed nothing, whenever it happened."""
        if self.is_open:
            return self.operation == "get"
        return (
            self.operation == "get"
            or (isinstance(self.result, tuple) and not self.result[1])
            or (self.operation == "delete_key" and self.result is False)
            or self.result == NOT_A_NUMBER
        )


class SearchLimitError(Exception):
    """The history has too many overlapping calls to be decided within the limit."""


@dataclass(frozen=True)
class Violation:
    """Why a key's history is not linearizable: how far the search came, and what did not fit."""

    key: bytes
    placed: int
    state: State
    stuck: list[Call]

    def __str__(self) -> str:
        origin = min(call.invoked for call in self.stuck)
        lines = [
            f"key {self.key!r}: after {self.placed} calls the value is {self.state!r}, "
            "and none of these can be next (ns):"
        ]
        for call in self.stuck:
            end = "never" if call.is_open else str(call.returned - origin)
            lines.append(
                f"  {call.client}: {call.operation}{call.arguments!r} -> {call.result!r} "
                f"from {call.invoked - origin} to {end}"
            )
        return "\n".join(lines)


def step(state: State, call: Call) -> tuple[Result, State]:
    """What the call answers in a state, and the state after it."""
    if call.operation == "get":
        return state, state
    if call.operation == "set":
        return None, call.arguments[0]
    if call.operation == "delete_key":
        return state is not None, None
    if call.operation == "compare_exchange":
        return _exchange(state, *call.arguments)
    if call.operation == "add":
        return _add(state, int(call.arguments[0]))
    raise ValueError(f"no such operation: {call.operation}")


def _exchange(state: State, expected: bytes, desired: bytes) -> tuple[Result, State]:
    if (state or b"") == expected:
        return (desired, True), desired
    return (state or b"", False), state


def _add(state: State, amount: int) -> tuple[Result, State]:
    try:
        total = int(b"0" if state is None else state) + amount
    except ValueError:
        return NOT_A_NUMBER, state
    return total, b"%d" % total


def violations(history: Iterable[Call], states_max: int = 200_000) -> Iterator[Violation]:
    """The keys whose calls could not have happened in any order, each with the reason.

    states_max: how many states the search of one key may visit before SearchLimitError.
    """
    by_key: defaultdict[bytes, list[Call]] = defaultdict(list)
    for call in history:
        by_key[call.key].append(call)
    for key in sorted(by_key):
        found = find_violation(key, by_key[key], states_max)
        if found is not None:
            yield found


# How many calls, in order of invocation, are all placed; which behind them are, as bits; the state.
_Node = tuple[int, int, State]


def find_violation(key: bytes, calls: list[Call], states_max: int) -> Violation | None:
    """Search an order for the calls of one key; None if there is one."""
    calls = sorted(calls, key=lambda call: call.invoked)
    start: _Node = (0, 0, None)
    seen = {start}
    to_visit = [start]
    furthest, furthest_placed = start, 0
    while to_visit:
        node = to_visit.pop()
        first, placed, state = node
        if not any(not call.is_open for call in _unplaced(calls, first, placed)):
            return None
        count = first + placed.bit_count()
        if count > furthest_placed:
            furthest, furthest_placed = node, count
        for after in reversed(list(_successors(calls, node))):
            if after not in seen:
                if len(seen) >= states_max:
                    raise SearchLimitError(f"key {key!r}: no decision after {states_max} states")
                seen.add(after)
                to_visit.append(after)
    first, placed, state = furthest
    stuck = [calls[index] for index in _next_calls(calls, first, placed)]
    return Violation(key, furthest_placed, state, stuck)


def _unplaced(calls: list[Call], first: int, placed: int) -> Iterator[Call]:
    for index in range(first, len(calls)):
        if not placed >> (index - first) & 1:
            yield calls[index]


def _next_calls(calls: list[Call], first: int, placed: int) -> Iterator[int]:
    """Calls that may come next: no call that is still to be placed ended before they began."""
    earliest_end = NEVER
    for index in range(first, len(calls)):
        if calls[index].invoked > earliest_end:
            return
        if not placed >> (index - first) & 1:
            yield index
            earliest_end = min(earliest_end, calls[index].returned)


def _successors(calls: list[Call], node: _Node) -> Iterator[_Node]:
    """One call further on. A read that fits is placed at once: that takes no choice from others."""
    first, placed, state = node
    found: list[_Node] = []
    for index in _next_calls(calls, first, placed):
        call = calls[index]
        result, after = step(state, call)
        if call.is_open or (type(result) is type(call.result) and result == call.result):
            successor = _place(first, placed, index, after)
            if call.is_read:
                yield successor
                return
            found.append(successor)
    yield from found


def _place(first: int, placed: int, index: int, state: State) -> _Node:
    placed |= 1 << (index - first)
    while placed & 1:
        first, placed = first + 1, placed >> 1
    return first, placed, state
