"""Warnings that strangers can cause as often as they like, and that must not fill a disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from rendezvous._base.deadline import now_s

__all__ = ["Seldom"]

_EVERY_S = 10.0


class Seldom:
    """Logs the first of its warnings, and then one in ten seconds. Any thread.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = now_s) -> None:
        self._log, self._clock = log, clock
        self._lock = threading.RLock()
        self._next_s = clock()
        self._left_out = 0

    def warning(self, text: str, *values: Any) -> None:
        """As Logger.warning. Says how many like it were left out before."""
        with self._lock:
            now = self._clock()
            if now < self._next_s:
                self._left_out += 1
                return
            self._next_s = now + _EVERY_S
            left_out, self._left_out = self._left_out, 0
        more = f" (and {left_out} more like this)" if left_out else ""
        self._log.warning(text + "%s", *values, more)
