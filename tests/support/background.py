"""A call that blocks, on a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

BACKSTOP_S = 120.0
_T = TypeVar("_T")


class Background(Generic[_T]):
    """Runs `function` on a thread. A call that never returns fails the test, not the machine."""

    def __init__(self, function: Callable[..., _T], *args: Any, **kwargs: Any) -> None:
        self._call: Callable[[], _T] = lambda: function(*args, **kwargs)
        self._begun = threading.Event()
        self._result: _T
        self._error: BaseException | None = None
        self.elapsed_s = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        begin = time.monotonic()
        self._begun.set()
        try:
            self._result = self._call()
        except BaseException as error:
            self._error = error
        self.elapsed_s = time.monotonic() - begin

    def let_block(self) -> Background[_T]:
        """Give the call time to reach the point where it blocks, of which there is no sign.

        No test is wrong if that takes longer: it then only tests less.
        """
        assert self._begun.wait(BACKSTOP_S)
        time.sleep(0.05)
        return self

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> _T:
        """What the call returned; raises what it raised."""
        self._thread.join(BACKSTOP_S)
        assert not self._thread.is_alive(), f"still blocked after {BACKSTOP_S} s"
        if self._error is not None:
            raise self._error
        return self._result


def timed(function: Callable[..., Any], *args: Any, **kwargs: Any) -> float:
    """The seconds that a call takes, whatever its end, given on as an exception or not."""
    begin = time.monotonic()
    function(*args, **kwargs)
    return time.monotonic() - begin


def eventually(what: str, look: Callable[[], bool]) -> None:
    """Wait for what gives no event: another thread's log line, a value in /proc."""
    deadline = time.monotonic() + BACKSTOP_S
    while not look():
        assert time.monotonic() < deadline, f"{what}: not within {BACKSTOP_S} s"
        time.sleep(0.01)
