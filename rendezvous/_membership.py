"""A node's place in the group, from the first join to the end: kept by heartbeats, given up in
order.

Owns whether this node may be listed. Which consequences that has is _core.Group's. Called from the
handler's caller's thread.
"""

import time

from rendezvous import _core
from rendezvous._heartbeat import Heartbeat
from rendezvous._sync import Backoff, StateSync
from rendezvous._waiting import LOOK_S_MAX

__all__ = ["Membership"]

# Nodes that wait for a job's end are dismissed at once when it comes, but know it only when they
# look. Until then they need the store.
_DISMISSAL_S = 1.5 * LOOK_S_MAX


class Membership:
    """One node's place in one run.

    Args:
        heartbeat: runs while the node may be listed.
    """

    def __init__(self, sync: StateSync, node: _core.Node, heartbeat: Heartbeat) -> None:
        self._sync = sync
        self._node = node
        self._heartbeat = heartbeat
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
        self._heartbeat.start()

    def leave(self, failed: bool, timeout_s: float) -> None:
        """Give the place up. Raises RendezvousError if that could not be stored in time.

        Once it could not, another attempt is one try, without waiting: who leaves has waited.
        """
        self._heartbeat.ask_to_stop()
        if not self.may_be_listed:
            return
        self._has_failed |= failed

        def operation(group: _core.Group, now_s: float) -> None:
            self._note_who_waits(group)
            group.leave(self._node, self._has_failed, now_s)

        deadline_s = time.monotonic() + (timeout_s if self._may_wait else 0.0)
        self._may_wait = False
        self._sync.run_patiently(operation, deadline_s)
        self.may_be_listed = False

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
        self.others = self._sync.run_patiently(self._count_others, deadline_s)
        if self.others > 0:
            self._alone_s = None
            return False
        now_s = time.monotonic()
        if self._alone_s is None:
            self._alone_s = now_s
        return not self._others_wait or now_s >= self._alone_s + _DISMISSAL_S

    def _count_others(self, group: _core.Group, now_s: float) -> int:
        del now_s
        self._note_who_waits(group)
        listed = [*group.participants, *group.waiting, *group.spares]
        return sum(node != self._node for node in listed)

    def _note_who_waits(self, group: _core.Group) -> None:
        if group.waiting or group.spares:
            self._others_wait = True
