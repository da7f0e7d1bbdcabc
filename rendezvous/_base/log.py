"""Carries the core's log records to Python's `logging`.

The core's event loops must never wait for Python, so they put records into a queue; a daemon
thread, started with the first server, hands them to the logger `rendezvous.server`. It ends before
the interpreter does. Without a server there is no thread: each call delivers its log records when
it ends.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading

from rendezvous import _core
from rendezvous._base.deadline import Deadline
from rendezvous._base.threads import Event

_WAIT_S = 3600.0
_DRAIN_S = 1.0
_LOGGER = logging.getLogger("rendezvous.server")

# A signal's handler may start a server while its own thread does.
_lock = threading.RLock()
_stopping = Event()
_thread: threading.Thread | None = None


def _carry() -> None:
    while not _stopping.is_set():
        record = _core._next_log_record(_WAIT_S)
        if record is not None:
            _LOGGER.log(*record)


def start() -> None:
    """Start the thread unless it runs."""
    global _thread
    with _lock:
        if _thread is None and not _stopping.is_set():
            thread = threading.Thread(target=_carry, name="rendezvous-log", daemon=True)
            # Ctrl-C may come between these two: a thread that never started cannot be joined.
            try:
                thread.start()
            except RuntimeError:
                # No room for another thread: the records stay in the queue until there is one.
                return
            _thread = thread
            _core._set_log_thread(True)


def deliver() -> None:
    """Deliver the records in the queue: at the end of a call, if no thread does."""
    while (record := _core._next_log_record(0)) is not None:
        _LOGGER.log(*record)


def _stop() -> None:
    _stopping.set()
    if _thread is not None:
        _core._wake_log_reader()
        _thread.join()
        _core._set_log_thread(False)
        # What still comes, for as long as a user may be kept waiting: a peer that disturbs the
        # server can make records as fast as they are written.
        end = Deadline.after(_DRAIN_S)
        while not end.is_over and (record := _core._next_log_record(0)) is not None:
            _LOGGER.log(*record)


def _forget_after_fork() -> None:
    """Forget the thread in a forked child, which does not have it."""
    global _thread, _lock
    _thread = None
    _lock = threading.RLock()


atexit.register(_stop)
os.register_at_fork(after_in_child=_forget_after_fork)
