"""A point in time by which an operation ends, however many attempts and layers it takes.

Created once, where the operation begins, and passed through every call, so that timeouts of
attempts, look-ups and pauses cannot add up. Pure except for the clock and sleeping; any thread may
use it. Only code outside of this package's Python (the compiled stores, sockets, locks, a user's
own back-end) gets seconds, at the boundary.
"""

import math
import time
from dataclasses import dataclass

from rendezvous._base.arguments import FOREVER_S, seconds_text

__all__ = ["Deadline", "now_s"]

# What poll(2), and so a socket's timeout, can count is 24 days; a wait that ends earlier is begun
# again by whoever needs more.
_SOCKET_S_MAX = 24 * 3600.0
_SOCKET_S_MIN = 0.001


def now_s() -> float:
    """The clock of deadlines and of the rulebook, on this machine."""
    return time.monotonic()


@dataclass(frozen=True, slots=True)
class Deadline:
    """Never changes. Made by `after`; the times are of `now_s`.

    Attributes:
        begin_s: when the operation began.
        at_s: when it must have ended; infinity for one without a timeout.
    """

    begin_s: float
    at_s: float

    @staticmethod
    def after(seconds: float) -> "Deadline":
        """This many seconds from now. 30 years or more mean no deadline, as in all stores."""
        begin_s = now_s()
        return Deadline(begin_s, begin_s + seconds if seconds < FOREVER_S else math.inf)

    @property
    def left_s(self) -> float:
        """Seconds until it is over, never negative, and always a number that any wait accepts."""
        return max(0.0, min(self.at_s - now_s(), FOREVER_S))

    @property
    def socket_s(self) -> float:
        """The same for a socket, which accepts neither 0 nor a month."""
        return max(_SOCKET_S_MIN, min(self.left_s, _SOCKET_S_MAX))

    @property
    def elapsed_s(self) -> float:
        """Seconds since the operation began."""
        return now_s() - self.begin_s

    @property
    def elapsed_text(self) -> str:
        """As errors say it: "0.25 s"."""
        return seconds_text(self.elapsed_s)

    @property
    def is_set(self) -> bool:
        """Whether there is a timeout at all."""
        return self.at_s < math.inf

    @property
    def is_over(self) -> bool:
        return now_s() >= self.at_s

    def sooner(self, seconds: float) -> "Deadline":
        """A deadline that begins now and ends after this many seconds, or with this one."""
        other = Deadline.after(seconds)
        return Deadline(other.begin_s, min(other.at_s, self.at_s))

    def at_least(self, seconds: float) -> "Deadline":
        """A deadline with at least this much time from now, and the beginning of this one."""
        return Deadline(self.begin_s, max(self.at_s, Deadline.after(seconds).at_s))

    def ahead(self, seconds: float) -> "Deadline":
        """A deadline this many seconds before this one."""
        return Deadline(self.begin_s, self.at_s - seconds)

    def or_sooner(self, other: "Deadline | None") -> "Deadline":
        """The earlier of the two."""
        return self if other is None or self.at_s <= other.at_s else other

    def sleep(self, seconds: float) -> None:
        """Sleep this long, but not beyond the deadline."""
        time.sleep(max(0.0, min(seconds, self.left_s)))
