"""One thread of an object, and one line in the log for each outage."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rendezvous._base.deadline import Deadline
from rendezvous._base.patience import Outage
from rendezvous._base.threads import Background, Event

BACKSTOP_S = 60.0


@contextmanager
def background(begun: threading.Semaphore) -> Iterator[Background]:
    """It counts how often it begins, and waits to be stopped."""

    def run(stop: Event) -> None:
        begun.release()
        stop.wait(BACKSTOP_S)

    made = Background("rendezvous-test", run)
    try:
        yield made
    finally:
        assert made.stop(Deadline.after(BACKSTOP_S))


def test_it_runs_once_until_it_is_stopped_and_can_be_started_again() -> None:
    begun = threading.Semaphore(0)
    with background(begun) as made:
        assert not made.is_running
        for _ in range(2):
            made.start()
            made.start()
            assert begun.acquire(timeout=BACKSTOP_S)
            assert made.is_running
            assert made.stop(Deadline.after(BACKSTOP_S))
            assert not made.is_running
        assert not begun.acquire(blocking=False)


def test_who_is_asked_to_stop_may_end_later() -> None:
    go_on = Event()
    made = Background("rendezvous-test", lambda _: assert_set(go_on))
    made.start()
    made.ask_to_stop()
    assert made.is_stopping
    assert not made.is_running
    assert not made.join(Deadline.after(0.0))
    go_on.set()
    assert made.join(Deadline.after(BACKSTOP_S))


def assert_set(event: Event) -> None:
    assert event.wait(BACKSTOP_S)


def test_its_own_thread_does_not_wait_for_itself() -> None:
    ended: list[bool] = []
    is_started = Event()

    def run(stop: Event) -> None:
        assert_set(is_started)
        ended.append(made.stop(Deadline.after(BACKSTOP_S)))

    made = Background("rendezvous-test", run)
    made.start()
    is_started.set()
    assert made.join(Deadline.after(BACKSTOP_S))
    assert ended == [False]


def test_a_forked_child_has_none() -> None:
    begun = threading.Semaphore(0)
    with background(begun) as made:
        made.start()
        pid = os.fork()
        if pid == 0:
            has_none = made.is_elsewhere and not made.is_running
            os._exit(0 if has_none and made.stop(Deadline.after(0.0)) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert made.is_running


def test_an_outage_is_told_once_when_it_begins_and_once_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage = Outage(logging.getLogger("rendezvous.test"), "%s fails: %s", "%s works", "it")
    for error in (None, ValueError("a"), ValueError("b"), None, None, ValueError("c")):
        outage.note(error)
        assert outage.is_on == (error is not None)
    assert caplog.messages == ["it fails: a", "it works", "it fails: c"]


def test_the_end_of_an_outage_need_not_be_told(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(logging.getLogger("rendezvous.test"), "fails: %s", None)
    outage.note(ValueError("a"))
    outage.note(None)
    assert caplog.messages == ["fails: a"]
