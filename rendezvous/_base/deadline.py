"""A point in time by which an operation ends, however many attempts and layers it takes.

Made once, where the operation begins, and handed down through every call, so that no attempt,
look-up or pause has a timeout of its own that could add up. Pure but for the clock and sleeping;
any thread may use it. Only what is not ours (the compiled stores, sockets, locks, a user's own
back-end) is told seconds, at the border.
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
    """The time by which deadlines are kept, and which the rulebook is told; of this machine."""
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
        """So many seconds from now. An enormous number (30 years, as in all stores) means none."""
        begin_s = now_s()
        return Deadline(begin_s, begin_s + seconds if seconds < FOREVER_S else math.inf)

    @property
    def left_s(self) -> float:
        """Seconds until it is over, never negative, and always a number that any wait takes."""
        return max(0.0, min(self.at_s - now_s(), FOREVER_S))

    @property
    def socket_s(self) -> float:
        """The same for a socket, which takes neither no time nor a month."""
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
        """One that begins now and is over after so many seconds, or with this one."""
        other = Deadline.after(seconds)
        return Deadline(other.begin_s, min(other.at_s, self.at_s))

    def at_least(self, seconds: float) -> "Deadline":
        """One that leaves so much time from now, and has begun when this one did."""
        return Deadline(self.begin_s, max(self.at_s, Deadline.after(seconds).at_s))

    def ahead(self, seconds: float) -> "Deadline":
        """One that is over so many seconds before this one."""
        return Deadline(self.begin_s, self.at_s - seconds)

    def or_sooner(self, other: "Deadline | None") -> "Deadline":
        """Whichever of the two is over first."""
        return self if other is None or self.at_s <= other.at_s else other

    def sleep(self, seconds: float) -> None:
        """So long, and not beyond it."""
        time.sleep(max(0.0, min(seconds, self.left_s)))
