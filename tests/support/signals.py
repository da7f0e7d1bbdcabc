"""Signal handlers that run in the middle of a blocking call, and use what it uses."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# Between two of them. A call that has not begun to block by then is tested less, never wrongly.
PERIOD_S = 0.08


@contextmanager
def handling(handle: Callable[[int], bool], period_s: float = PERIOD_S) -> Iterator[None]:
    """`handle(1)`, `handle(2)`, ... in a signal's handler, one after the other, until it says True.

    For a test on the main thread, which alone runs handlers. What it raises comes out of whatever
    that thread is doing.
    """
    count = 0

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if not handle(count):
            signal.setitimer(signal.ITIMER_REAL, period_s)

    # Python ignores what is raised in a __del__, so none of old garbage shall run meanwhile. It is
    # not collected before: after many tests, that would take a second.
    gc.disable()
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, period_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
