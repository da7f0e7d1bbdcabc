"""Our event: what threading's does, and signals whose handlers raise leave it as it was."""

from __future__ import annotations

import signal
import threading

import pytest
from support.background import BACKSTOP_S, Background

from rendezvous._base.threads import Event


class StopError(Exception):
    """What a handler raises."""


def test_it_wakes_all_who_wait() -> None:
    """Those that come later, too, until it is cleared."""
    event = Event()
    assert not event.wait(0)
    waiting = [Background(event.wait, BACKSTOP_S) for _ in range(3)]
    event.set()
    assert [each.result() for each in waiting] == [True] * 3
    assert event.wait(0)
    assert event.is_set()
    event.clear()
    assert not event.wait(0.01)


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="signals come to that one"
)
def test_handlers_that_raise_while_it_is_set_or_waited_for_leave_it_whole() -> None:
    """Wherever they come: threading's own event hangs after some thousand of them."""

    def stop(_signum: int, _frame: object) -> None:
        raise StopError

    before = signal.signal(signal.SIGALRM, stop)
    event, other = Event(), Event()
    raised = 0
    try:
        while raised < 500:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002)
                for _ in range(100_000):  # what is raised in a __del__ is lost
                    event.set()
                    event.wait(0)
                    event.clear()
                    other.wait(0)
            except StopError:
                raised += 1
            if raised % 100 == 0:
                for each in (event, other):
                    # Another thread, as a lock of this one would let this one in.
                    Background(each.set).result()
                    assert each.wait(0)
                    each.clear()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
