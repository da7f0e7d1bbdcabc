"""A node's place in the group, from the first join to the end: kept by heartbeats, given up in
order.

Owns whether this node may be listed. Which consequences that has is the coordinator's. Called from
the handler's caller's thread.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from rendezvous import _core
from rendezvous._coordinator import Coordinator, Ending
from rendezvous._patience import Backoff

__all__ = ["Membership"]

_T = TypeVar("_T")


class Membership:
    """One node's place in one run.

    Args:
        coordinator: runs in the background while the node may be listed.
    """

    def __init__(self, coordinator: Coordinator, node: _core.Node) -> None:
        self._coordinator = coordinator
        self._node = node
        self.may_be_listed = False
        self._may_wait = True
        self._has_failed = False
        # As of the last look.
        self.others = 0
        self._others_wait = False
        self._alone_s: float | None = None

    def enter(self) -> None:
        """From now on the node may be listed, and sends heartbeats."""
        self.may_be_listed = True
        self._may_wait = True
        self._has_failed = False
        self._coordinator.start()

    def leave(self, failed: bool, timeout_s: float) -> None:
        """Give the place up. Raises RendezvousError if that could not be told in time.

        Once it could not, another attempt is one try, without waiting: who leaves has waited.
        """
        self._coordinator.ask_to_stop()
        if not self.may_be_listed:
            return
        self._has_failed |= failed
        self._others_wait |= self._part(
            lambda deadline_s: self._coordinator.leave(self._has_failed, deadline_s), timeout_s
        )

    def give_up(self, ending: Ending, timeout_s: float) -> str:
        """As `leave`, for good; which node gave up first, and why."""
        self._coordinator.ask_to_stop()
        if not self.may_be_listed:
            return ""
        self._has_failed = True
        return self._part(
            lambda deadline_s: self._coordinator.give_up(ending, deadline_s), timeout_s
        )

    def _part(self, tell: Callable[[float], _T], timeout_s: float) -> _T:
        deadline_s = time.monotonic() + (timeout_s if self._may_wait else 0.0)
        self._may_wait = False
        told = tell(deadline_s)
        self.may_be_listed = False
        return told

    def wait_until_alone(self, timeout_s: float) -> bool:
        """Wait until no other node has a place, and those that waited know that it is over.

        False at the timeout. Raises RendezvousError.
        """
        deadline_s = time.monotonic() + timeout_s
        backoff = Backoff(0.02, 0.5)
        while not self._is_alone(deadline_s):
            if time.monotonic() >= deadline_s:
                return False
            backoff.sleep(deadline_s)
        return True

    def _is_alone(self, deadline_s: float) -> bool:
        census = self._coordinator.census(deadline_s)
        self._others_wait |= bool(census.waiting or census.spares)
        listed = [*census.participants, *census.waiting, *census.spares]
        self.others = sum(node != self._node for node in listed)
        if self.others > 0:
            self._alone_s = None
            return False
        now_s = time.monotonic()
        if self._alone_s is None:
            self._alone_s = now_s
        return not self._others_wait or now_s >= self._alone_s + self._coordinator.dismissal_s
