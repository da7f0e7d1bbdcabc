"""Signals as events that the main thread waits for, while another thread does what may block.

The main thread never blocks in anything but this wait, so that a signal is seen at once, whatever a
server, a disk or a resolver does; and no exception comes out of nowhere into code that is not
written for it. Signals that were ignored at the start (nohup, a background job of a script) stay
ignored.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from rendezvous._base.deadline import Deadline
from rendezvous._base.threads import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

_T = TypeVar("_T")

ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})


class SignalledError(BaseException):
    """A signal asked the command to end. No Exception: nothing on the way may swallow it."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"ended by signal {signum}")
        self.signum = signum


class OvertimeError(Exception):
    """What `SignalScope.during` was to call did not end in time, and goes on without its caller."""


class SignalScope:
    """Notes the given signals between `__enter__` and `__exit__`, in the order they came.

    Args:
        harmless: one that ends nothing, and is noted even if it was ignored at the start.

    Attributes:
        has_left_behind: whether a call of `during` goes on although nobody waits for it.
    """

    def __init__(self, *signums: int, harmless: int | None = None) -> None:
        self._signums = signums if harmless is None else (*signums, harmless)
        self._harmless = harmless
        self._noted: deque[int] = deque()
        self._old_handlers: dict[int, object] = {}
        self._old_wakeup_fd = -1
        self._read_fd = self._write_fd = -1
        self._left_behind: list[threading.Thread] = []

    def __enter__(self) -> SignalScope:
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        os.set_blocking(self._write_fd, False)
        # A full pipe already wakes the reader, so there is nothing to warn about.
        self._old_wakeup_fd = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for signum in self._signums:
            if signum == self._harmless or signal.getsignal(signum) is not signal.SIG_IGN:
                self._old_handlers[signum] = signal.signal(signum, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for signum, old in self._old_handlers.items():
            signal.signal(signum, old)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._old_wakeup_fd)
        read_fd, self._read_fd = self._read_fd, -1
        write_fd, self._write_fd = self._write_fd, -1
        os.close(read_fd)
        os.close(write_fd)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self._noted.append(signum)

    @property
    def has_left_behind(self) -> bool:
        return any(thread.is_alive() for thread in self._left_behind)

    def take(self) -> list[int]:
        """The signals noted since the last call, without waiting."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read_fd, 4096):
                pass
        taken = []
        while self._noted:
            taken.append(self._noted.popleft())
        return taken

    def wait(self, timeout_s: float | None) -> list[int]:
        """Sleep until a signal comes or the time is over; the signals noted, maybe none."""
        if not self._noted:
            select.select([self._read_fd], [], [], timeout_s)
        return self.take()

    def during(self, call: Callable[[], _T], timeout_s: float | None = None) -> _T:
        """What `call` returns or raises, called on a thread of its own.

        An ending signal leaves it at once, by SignalledError; one that was noted before counts as
        well. Other signals are dropped. `timeout_s` over: OvertimeError.
        """
        errand = _Errand(call, self._wake)
        deadline = None if timeout_s is None else Deadline.after(timeout_s)
        self._note_ending(self.take())
        errand.start()
        self._left_behind.append(errand.thread)
        while not errand.is_done:
            if deadline is not None and deadline.is_over:
                raise OvertimeError(f"not within {timeout_s:g} s")
            self._note_ending(self.wait(None if deadline is None else deadline.left_s))
        self._left_behind.remove(errand.thread)
        return errand.result()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._write_fd, b"\0")

    def _note_ending(self, signums: list[int]) -> None:
        for signum in signums:
            if signum in ENDING:
                raise SignalledError(signum)
            if signum == signal.SIGTSTP:
                os.kill(os.getpid(), signal.SIGSTOP)


class _Errand(Generic[_T]):
    """A call on a thread of its own, which the end of the process does not wait for."""

    def __init__(self, call: Callable[[], _T], done: Callable[[], None]) -> None:
        self._call = call
        self._done = done
        self._result: list[_T] = []
        self._error: BaseException | None = None
        self.is_done = False
        self.thread = threading.Thread(target=self._run, name="rendezvous-call", daemon=True)

    def start(self) -> None:
        start_thread(self.thread)

    def _run(self) -> None:
        try:
            self._result.append(self._call())
        except BaseException as error:  # noqa: BLE001  (it is raised where it is waited for)
            self._error = error
        self.is_done = True
        self._done()

    def result(self) -> _T:
        if self._error is not None:
            raise self._error
        return self._result[0]


def leave_at_once(code: int) -> NoReturn:
    """End the process without waiting for what its threads do, or for what would be tidied up."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
