"""A point in time by which an operation ends, however many attempts it takes. Pure but the clock.

Made once at an operation's begin and handed down, so that no attempt, look-up or pause has a
time-out of its own that could add up.
"""

import time

__all__ = ["Deadline"]


class Deadline:
    """`seconds` from now; infinity is for ever."""

    __slots__ = ("_at", "_begin")

    def __init__(self, seconds: float) -> None:
        self._begin = time.monotonic()
        self._at = self._begin + seconds

    @property
    def left_s(self) -> float:
        """Seconds until it passes, never negative."""
        return max(0.0, self._at - time.monotonic())

    @property
    def elapsed_s(self) -> float:
        """Seconds since the operation began."""
        return time.monotonic() - self._begin

    @property
    def passed(self) -> bool:
        return self.left_s <= 0

    def within(self, seconds: float) -> "Deadline":
        """One that passes after `seconds`, or with this one if that is sooner."""
        return Deadline(min(seconds, self.left_s))

    def at_least(self, seconds: float) -> "Deadline":
        """One that leaves so much time from now, and has begun when this one did."""
        later = Deadline(max(self.left_s, seconds))
        later._begin = self._begin
        return later

    def elapsed_text(self) -> str:
        """As errors say it: "0.25 s"."""
        return f"{self.elapsed_s:.3f}".rstrip("0").rstrip(".") + " s"
