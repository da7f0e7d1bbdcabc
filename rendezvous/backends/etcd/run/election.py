"""Whether a node of a run on etcd leads it: it stands when nobody does. Owns the node's term.

When a leader goes, its successor is soon found, and not by all nodes at once.
"""

import random
import threading

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import StoreNoAnswerError
from rendezvous._coordination.coordinator import NodeSetup
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.client.lease import KeptLease
from rendezvous.backends.etcd.client.wire import KeyValue
from rendezvous.backends.etcd.run.keys import RunKeys
from rendezvous.backends.etcd.run.leader.leader import Leader
from rendezvous.backends.etcd.run.place import Place

__all__ = ["Election"]

# About so many stand in the time that the news of the first takes.
_STAND_S_MIN = 0.02
_NODES_A_SECOND = 2_000


class Election:
    """One node's.

    Attributes:
        due: when the node stands; None: somebody leads, as far as is known.
        is_halted: the node goes, and does not stand.
    """

    def __init__(
        self, client: EtcdClient, keys: RunKeys, setup: NodeSetup, place: Place, kept: KeptLease
    ) -> None:
        self._client = client
        self._keys = keys
        self._place = place
        self._kept = kept
        self._exchange_s = setup.exchange_s
        # A signal's handler may stand in the middle of its own thread's exchange with etcd.
        self._lock = threading.RLock()
        self._term: Leader | None = None
        self._has_leader = False
        self.due: Deadline | None = None
        self.is_halted = False

    @property
    def leader(self) -> Leader | None:
        """This node's term, if it leads."""
        term = self._term
        return None if term is None or term.is_over else term

    def note_vacancy(self, nodes: int) -> None:
        """Nobody leads. nodes: how many hear that."""
        self._has_leader = False
        pause_s = max(_STAND_S_MIN, nodes / _NODES_A_SECOND)
        self.due = Deadline.after(random.uniform(0.0, pause_s))  # noqa: S311

    def note_leader(self, entry: KeyValue, nodes: int) -> None:
        """Somebody leads, as the leader's key says. nodes: as of `note_vacancy`."""
        if self._place.is_own(entry) and self.leader is None:
            # Elected, and the answer that said so did not come: the office is still to be taken.
            self.note_vacancy(nodes)
        else:
            self.due = None
        self._has_leader = True

    def stand_if_due(self, again_s: float) -> None:
        """again_s: until the next attempt, if nobody gets elected by this one."""
        if self.due is None or not self.due.is_over:
            return
        self.due = None
        self.stand(Deadline.after(self._exchange_s))
        # Whoever won is seen soon; if nobody did, it is tried again.
        if not self._has_leader and self.leader is None:
            self.due = Deadline.after(again_s)

    def stand(self, deadline: Deadline) -> None:
        """Try to become the leader. Any thread may."""
        # Another thread may be asking, by a deadline of its own.
        if not self._lock.acquire(timeout=deadline.left_s):
            raise StoreNoAnswerError(
                f"run {self._keys.run_id!r}: timeout: an earlier election has not ended"
            )
        try:
            if self.leader is not None or self.is_halted:
                return
            fence = self._place.stand(deadline)
            if not fence:
                return
            leader = Leader(
                self._client, self._keys, self._place.name, fence, self._kept, self._exchange_s
            )
            leader.start()
            self._term = leader
        finally:
            self._lock.release()

    def end_term(self) -> None:
        """Without a word to anybody: its key goes with the lease."""
        if self._term is not None:
            self._term.stop()

    def wait_for_end(self, deadline: Deadline) -> bool:
        """Of the term; whether it is over."""
        return self._term is None or self._term.join(deadline)
