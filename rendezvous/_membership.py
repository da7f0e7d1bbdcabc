"""A node's place in the group, from the first join to the end: kept by heartbeats, given up in
order.

Owns whether this node may be listed. Which consequences that has is _core.Group's. Called from the
handler's caller's thread.
"""

import time

from rendezvous import _core
from rendezvous._heartbeat import Heartbeat
from rendezvous._sync import Backoff, StateSync

__all__ = ["Membership"]


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

    def enter(self) -> None:
        """From now on the node may be listed, and sends heartbeats."""
        self.may_be_listed = True
        self._heartbeat.start()

    def leave(self, failed: bool, timeout_s: float) -> None:
        """Give the place up. Raises RendezvousError if that could not be stored in time."""
        self._heartbeat.ask_to_stop()
        if not self.may_be_listed:
            return

        def operation(group: _core.Group, now_s: float) -> None:
            group.leave(self._node, failed, now_s)

        self._sync.run_patiently(operation, time.monotonic() + timeout_s)
        self.may_be_listed = False

    def wait_until_alone(self, timeout_s: float) -> bool:
        """Wait until no other node has a place; False at the timeout. Raises RendezvousError."""
        deadline_s = time.monotonic() + timeout_s
        backoff = Backoff(0.02, 0.5)
        while self._sync.run_patiently(self._count_others, deadline_s) > 0:
            if time.monotonic() >= deadline_s:
                return False
            backoff.sleep(deadline_s)
        return True

    def _count_others(self, group: _core.Group, now_s: float) -> int:
        del now_s
        listed = [*group.participants, *group.waiting, *group.spares]
        return sum(node != self._node for node in listed)
