"""Threads. If the system refuses another one, that is one of our errors.

Python raises a plain RuntimeError then, which callers cannot tell from a bug.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import StoreConnectionError

__all__ = ["Background", "Event", "start_thread"]


def start_thread(thread: threading.Thread) -> None:
    """Start it. Raises StoreConnectionError when the system refuses."""
    try:
        thread.start()
    except RuntimeError as error:
        if thread.ident is not None:
            raise  # it was started before: a mistake of the caller
        raise StoreConnectionError(
            f"cannot start the thread {thread.name!r}: {error}; raise the limit of processes and "
            "threads (ulimit -u, or the pids limit of the container)"
        ) from error


class Event:
    """As threading.Event, for threads whose signals' handlers raise, and for those handlers.

    threading's takes a lock in a function of Python's own. A handler that raises just then leaves
    it locked for good, and whoever sets the event next hangs. Nothing is locked here: a handler
    that raises in `set` leaves it set, and some that wait asleep until it is set again.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._waiters: list[threading.Lock] = []  # each locked until it is set

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Wake all that wait."""
        self._is_set = True
        for waiter in tuple(self._waiters):
            with suppress(RuntimeError):  # it was woken before
                waiter.release()

    def clear(self) -> None:
        """Have those that come wait again."""
        self._is_set = False

    def wait(self, timeout_s: float | None = None) -> bool:
        """Until it is set, or for that many seconds; whether it was."""
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters.append(waiter)
        try:
            if self._is_set:
                return True
            if timeout_s is None:
                return waiter.acquire()
            return waiter.acquire(timeout=min(max(timeout_s, 0.0), threading.TIMEOUT_MAX))
        finally:
            self._waiters.remove(waiter)


class Background:
    """A background thread of an object, in the process that starts it.

    Args:
        name: of the thread.
        run: its work, until the event that it gets is set. Then it may be started again.
    """

    def __init__(self, name: str, run: Callable[[Event], None]) -> None:
        self._name = name
        self._run = run
        self._thread: threading.Thread | None = None
        self._stop = Event()
        self._pid = os.getpid()

    @property
    def is_running(self) -> bool:
        """Whether it is running in this process: a forked child has none."""
        return self._thread is not None and not self.is_stopping and not self.is_elsewhere

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    @property
    def is_elsewhere(self) -> bool:
        """Whether this is a forked child of the process that started it."""
        return self._pid != os.getpid()

    def start(self) -> None:
        """Start, unless it runs. Raises StoreConnectionError when the system refuses."""
        if self.is_running:
            return
        self._pid = os.getpid()
        self._stop = Event()
        thread = threading.Thread(
            target=self._run, args=(self._stop,), name=self._name, daemon=True
        )
        # Ctrl-C may come between these two: a thread that never started cannot be joined.
        start_thread(thread)
        self._thread = thread

    def ask_to_stop(self) -> None:
        """It ends after its current step."""
        self._stop.set()

    def stop(self, deadline: Deadline) -> bool:
        """Ask it to stop, and `join`."""
        self._stop.set()
        return self.join(deadline)

    def join(self, deadline: Deadline) -> bool:
        """Wait for its end, unless this is its own thread; whether it has ended."""
        thread = self._thread
        if thread is None or self.is_elsewhere:
            return True
        if thread is not threading.current_thread():
            thread.join(deadline.left_s)
        if thread.is_alive():
            return False
        self._thread = None
        return True
