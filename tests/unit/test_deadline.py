"""A deadline: one point in time, however many layers ask what is left of it."""

import math
import select
import socket
import threading
import time

import pytest

from rendezvous._base import deadline as _deadline
from rendezvous._base.deadline import Deadline, now_s


class Clock:
    """Stands still until it is told to go on, and counts what was slept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at_s = 1000.0
        monkeypatch.setattr(_deadline, "now_s", lambda: self.at_s)
        monkeypatch.setattr(_deadline, "time", self)

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.at_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_what_is_left_shrinks_to_nothing_and_no_further(clock: Clock) -> None:
    """Waits are told seconds, and none of them takes a negative number."""
    deadline = Deadline.after(5)
    assert (deadline.left_s, deadline.elapsed_s, deadline.is_over) == (5, 0, False)
    clock.at_s += 4
    assert (deadline.left_s, deadline.elapsed_s, deadline.is_over) == (1, 4, False)
    clock.at_s += 1
    assert (deadline.left_s, deadline.is_over) == (0, True)
    clock.at_s += 100
    assert (deadline.left_s, deadline.elapsed_s, deadline.is_over) == (0, 105, True)


def test_attempts_get_a_part_of_the_time_and_never_more(clock: Clock) -> None:
    """However long an attempt may take by itself: the operation ends when it ends."""
    deadline = Deadline.after(5)
    assert deadline.sooner(2).left_s == 2
    assert deadline.sooner(60).left_s == 5
    clock.at_s += 4
    assert deadline.sooner(2).left_s == 1
    assert deadline.sooner(2).elapsed_s == 0
    assert deadline.sooner(-1).is_over


def test_what_must_be_tried_once_more_gets_its_least(clock: Clock) -> None:
    """And says how long the whole operation took."""
    deadline = Deadline.after(5)
    assert deadline.at_least(1).left_s == 5
    clock.at_s += 7
    later = deadline.at_least(1)
    assert (later.left_s, later.elapsed_s) == (1, 7)


def test_a_last_look_comes_ahead_of_the_end(clock: Clock) -> None:
    """And whichever of two comes first is waited for."""
    deadline = Deadline.after(5)
    last_look = deadline.ahead(2)
    assert last_look.left_s == 3
    assert deadline.or_sooner(last_look) is last_look
    assert last_look.or_sooner(deadline) is last_look
    assert deadline.or_sooner(None) is deadline


def test_nobody_sleeps_beyond_it(clock: Clock) -> None:
    """A pause ends with the operation, and is none when that is over."""
    deadline = Deadline.after(5)
    deadline.sleep(2)
    assert deadline.left_s == 3
    deadline.sleep(60)
    assert (deadline.left_s, deadline.elapsed_s) == (0, 5)
    deadline.sleep(60)
    assert deadline.elapsed_s == 5


def test_it_tells_how_long_an_operation_took(clock: Clock) -> None:
    """As the stores' errors do."""
    deadline = Deadline.after(5)
    clock.at_s += 0.25
    assert deadline.elapsed_text == "0.25 s"


def test_an_enormous_timeout_is_none_and_still_a_number_that_every_wait_takes() -> None:
    """Locks, events, threads, sockets and poll have limits of their own, and raise beyond them."""
    for seconds in (math.inf, 1e300, 40 * 365 * 86_400.0):
        deadline = Deadline.after(seconds)
        assert not deadline.is_over
        assert math.isinf(deadline.at_s)
        for each in (deadline, deadline.ahead(5), deadline.at_least(5), deadline.sooner(math.inf)):
            lock, event, ended = threading.Lock(), threading.Event(), threading.Thread(target=int)
            event.set()
            ended.start()
            assert lock.acquire(timeout=each.left_s)
            assert event.wait(each.left_s)
            ended.join(each.left_s)
            one, other = socket.socketpair()
            with one, other:
                one.settimeout(each.socket_s)
                other.send(b"x")
                assert one.recv(1) == b"x"
                other.send(b"x")
                assert select.select([one], [], [], each.socket_s)[0]


def test_a_socket_is_never_told_not_to_wait_at_all() -> None:
    """A timeout of 0 would make it a socket that does not block, whose errors are others."""
    assert Deadline.after(0).socket_s > 0


def test_it_never_changes() -> None:
    """It is handed from layer to layer, and from thread to thread."""
    deadline = Deadline.after(5)
    with pytest.raises(AttributeError):
        deadline.at_s = 0.0  # type: ignore[misc]


def test_it_is_kept_by_the_clock_that_no_administrator_sets() -> None:
    """The rulebook is told times of the same clock."""
    before = time.monotonic()
    assert before <= now_s() <= time.monotonic()
