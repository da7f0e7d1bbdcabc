"""Retries: pauses between attempts, which failures are permanent, and what is logged about those
that last. Knows no backend.

Runs on the thread that waits.
"""

import logging
import random
from collections.abc import Callable
from typing import TypeVar

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import (
    RendezvousConnectionError,
    StoreConnectionError,
    StoreError,
    StoreTimeoutError,
)

__all__ = ["Backoff", "Outage", "is_hopeless", "is_refusal", "patiently"]

_T = TypeVar("_T")


class Backoff:
    """Pauses that grow, with jitter, so that clients that collided once do not collide again."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._next_s = first_s
        self._longest_s = longest_s

    def sleep(self, deadline: Deadline, at_least_s: float = 0.0) -> None:
        """Sleep, not past the deadline. at_least_s: minimum of this pause, before jitter."""
        pause_s = max(self._next_s, at_least_s) * random.uniform(0.5, 1.0)  # noqa: S311
        self._next_s = min(self._next_s * 2, self._longest_s)
        deadline.sleep(pause_s)


class Outage:
    """A failure that repeats is logged once when it begins, and once when it is over.

    Args:
        began: of the log; for `about` and the error.
        ended: likewise, for `about`. None: the end is not logged.
    """

    def __init__(self, log: logging.Logger, began: str, ended: str | None, *about: object) -> None:
        self._log = log
        self._began = began
        self._ended = ended
        self._about = about
        self.is_on = False

    def note(self, error: Exception | None, *, with_traceback: bool = False) -> None:
        """Record the result of an attempt; None: success."""
        if error is not None and not self.is_on:
            self._log.warning(self._began, *self._about, error, exc_info=with_traceback)
        elif error is None and self.is_on and self._ended is not None:
            self._log.warning(self._ended, *self._about)
        self.is_on = error is not None


def is_refusal(error: BaseException | None) -> bool:
    """Whether a store refused, for example a user without permission, and would refuse again."""
    return isinstance(error, StoreError) and not isinstance(
        error, StoreConnectionError | StoreTimeoutError
    )


def is_hopeless(error: Exception) -> bool:
    """Whether a retry would always fail in the same way."""
    return is_refusal(error.__cause__)


def patiently(
    call: Callable[[], _T], deadline: Deadline, is_over: Callable[[], bool] | None = None
) -> _T:
    """Retry while the backend cannot be reached; raises its error at the deadline.

    is_over: called after each failure: whether there is no point in waiting.
    """
    backoff = Backoff(0.05, 2.0)
    while True:
        try:
            return call()
        except RendezvousConnectionError as error:
            if is_hopeless(error) or deadline.is_over:
                raise
            if is_over is not None and is_over():
                raise
        backoff.sleep(deadline)
