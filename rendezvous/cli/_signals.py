"""Signals as events that the main thread waits for, or as an exception that ends a blocking call.

Only the main thread uses it. While the scope is open, every signal named is noted and wakes
`wait`; inside `interrupting()` a signal that ends the command raises SignalledError instead, out
of whatever call is blocked. An exception out of nowhere would break code that is not written for
it (a lock that is being released, a thread that is being started): inside such code it is put off
by some milliseconds, with a timer. Signals that were ignored at the start (nohup, a background
job of a script) stay ignored.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})

# Packages whose functions must not be left half done, whoever called them.
_UNSAFE = frozenset({"contextlib", "importlib", "logging", "subprocess", "threading", "weakref"})
_PUT_OFF_S = 0.005
# If the blocked call is still not left by then, the exception got lost on its way, or cleaning up
# takes too long. Longer than leaving a rendezvous may take.
_AGAIN_S = 10.0


class SignalledError(BaseException):
    """A signal asked the command to end. No Exception: nothing on the way may swallow it."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"ended by signal {signum}")
        self.signum = signum


class SignalScope:
    """Notes the given signals between `__enter__` and `__exit__`, in the order they came."""

    def __init__(self, *signums: int) -> None:
        self._signums = signums
        self._noted: deque[int] = deque()
        self._interrupting = False
        # The signal that ends the blocked call, from its arrival to the end of `interrupting()`.
        self._pending: int | None = None
        self._old_handlers: dict[int, object] = {}
        self._old_wakeup_fd = -1
        self._read_fd = self._write_fd = -1

    def __enter__(self) -> SignalScope:
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        os.set_blocking(self._write_fd, False)
        # A full pipe already wakes the reader, so there is nothing to warn about.
        self._old_wakeup_fd = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        self._old_handlers[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._on_timer)
        for signum in self._signums:
            if signal.getsignal(signum) is not signal.SIG_IGN:
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
        os.close(self._read_fd)
        os.close(self._write_fd)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if not self._interrupting:
            self._noted.append(signum)
        elif signum in ENDING:
            self._pending = signum
            self._interrupt(frame)
        elif signum == signal.SIGTSTP:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _on_timer(self, signum: int, frame: FrameType | None) -> None:
        if self._interrupting:
            self._interrupt(frame)

    def _interrupt(self, frame: FrameType | None) -> None:
        if self._pending is None:
            return
        if not _is_safe(frame):
            signal.setitimer(signal.ITIMER_REAL, _PUT_OFF_S)
            return
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        raise SignalledError(self._pending)

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

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """A scope that an ending signal leaves at once, by SignalledError.

        One that was noted before the scope counts as well. Other signals are dropped inside.
        """
        self._interrupting = True
        try:
            self._raise_noted()
            yield
        except Exception as error:
            # What came of being interrupted is no news.
            if self._pending is not None:
                raise SignalledError(self._pending) from error
            raise
        else:
            if self._pending is not None:
                raise SignalledError(self._pending)
        finally:
            self._interrupting = False
            self._pending = None
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _raise_noted(self) -> None:
        for signum in self.take():
            if signum in ENDING:
                raise SignalledError(signum)


def _is_safe(frame: FrameType | None) -> bool:
    while frame is not None:
        name = frame.f_globals.get("__name__") or ""
        if name.partition(".")[0] in _UNSAFE:
            return False
        frame = frame.f_back
    return True
