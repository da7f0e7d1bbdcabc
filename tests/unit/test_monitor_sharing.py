"""Answers of a monitor that several share, and what a browser may call it."""

from __future__ import annotations

import threading

import pytest

from rendezvous.monitor.access import may_host_be_named
from rendezvous.monitor.asker import Shared


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_an_answer_is_made_once_and_kept_for_its_time() -> None:
    clock = Clock()
    shared = Shared(clock)
    made = iter(range(10))
    assert [shared.get("key", lambda: next(made), 0.5) for _ in range(3)] == [0, 0, 0]
    clock.now_s += 0.6
    assert shared.get("key", lambda: next(made), 0.5) == 1
    assert shared.get("other", lambda: next(made), 0.5) == 2


def test_what_is_costly_to_make_is_kept_longer() -> None:
    clock = Clock()
    shared = Shared(clock, clock)

    def slow() -> float:
        clock.now_s += 2.0
        return clock.now_s

    first = shared.get("key", slow, 0.5, 20.0)
    clock.now_s += 39.0
    assert shared.get("key", slow, 0.5, 20.0) == first
    clock.now_s += 2.0
    assert shared.get("key", slow, 0.5, 20.0) > first


def test_a_failure_is_told_to_all_who_wait_and_then_tried_again() -> None:
    clock = Clock()
    shared = Shared(clock)
    made = []

    def fail() -> None:
        made.append(clock.now_s)
        raise KeyError("gone")

    for _ in range(3):
        with pytest.raises(KeyError, match="gone"):
            shared.get("key", fail, 0.5)
    assert len(made) == 1
    clock.now_s += 1.1
    assert shared.get("key", lambda: "there", 0.5) == "there"


def test_those_who_come_while_it_is_made_get_the_same() -> None:
    shared = Shared()
    is_begun, may_end = threading.Event(), threading.Event()
    made = []

    def make() -> int:
        is_begun.set()
        may_end.wait()
        made.append(1)
        return len(made)

    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(shared.get("key", make, 60.0)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    is_begun.wait()
    may_end.set()
    for thread in threads:
        thread.join()
    assert found == [1] * 8


@pytest.mark.parametrize(
    ("header", "is_own"),
    [
        ("localhost", True),
        ("LOCALHOST:9109", True),
        ("127.0.0.1:1", True),
        ("[::1]:9109", True),
        ("job.localhost:80", True),
        ("node7", True),
        ("", False),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("[::2]", False),
        ("[::1].evil.example", False),
        ("[::1", False),
        ("localhost:80@evil.example", False),
    ],
)
def test_names_of_this_machine(header: str, is_own: bool) -> None:
    assert may_host_be_named(header, "node7") is is_own
