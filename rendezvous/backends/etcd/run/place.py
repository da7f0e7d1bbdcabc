"""A node's place in a run on etcd: its lease, and the key that says what it wants.

Only this node writes the key, each time over its previous value, so that a delayed write cannot
undo a later one. The first writer sets the marker that keeps compare-and-set users of the same run
away. Any thread may call it.
"""

import math
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import RendezvousStateError, StoreError, StoreNoAnswerError
from rendezvous._coordination.coordinator import Closure, Ending, NodeSetup
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.client.lease import KeptLease
from rendezvous.backends.etcd.client.wire import (
    KeyValue,
    TxnResult,
    compare_mod,
    compare_there,
    compare_value,
    op_put,
    op_range,
)
from rendezvous.backends.etcd.run.keys import (
    MARKER,
    RunKeys,
    Wish,
    closed_value,
    closure_in,
    leader_name,
    leader_value,
    node_name,
)
from rendezvous.backends.etcd.transport.errors import (
    NOT_FOUND,
    EtcdConnectionError,
    EtcdRequestError,
)

__all__ = ["Place", "Written"]

# etcd grants no less, and no more.
_TTL_S_MIN, _TTL_S_MAX = 2, 9_000_000_000
# A write that loses so often has a rival that must not be: somebody else writes this node's key.
_ATTEMPTS_MAX = 16


@dataclass(frozen=True)
class Written:
    """revision: of the wish. has_leader: whether somebody ran the rulebook then."""

    revision: int
    has_leader: bool


class Place:
    """One node's.

    Args:
        kept: the lease of what outlives this node.
    """

    def __init__(
        self, client: EtcdClient, keys: RunKeys, setup: NodeSetup, kept: KeptLease
    ) -> None:
        self._client = client
        self._keys = keys
        self._settings = setup.settings
        self._facts = setup.facts
        self.name = node_name(setup.node)
        self._key = keys.node(self.name)
        self._kept = kept
        window_s = setup.settings.keep_alive_interval * setup.settings.keep_alive_max_attempt
        self.ttl_s = min(max(math.ceil(window_s), _TTL_S_MIN), _TTL_S_MAX)
        # A signal's handler may leave while its own thread's request to join is on its way.
        self._lock = threading.RLock()
        self.lease = 0
        self._spent: list[int] = []  # of places that were given up
        self._known = 0
        self._may_be_there = False

    def ask_to_join(self, after_round: int, deadline: Deadline) -> Written:
        """Say that the node wants a round later than `after_round`.

        Raises RendezvousStateError when the run is kept by compare-and-set, and StoreErrors.
        """
        wish = Wish.to_join(after_round, self._settings, self._facts, os.urandom(8).hex())
        return self._write(wish, self._own_lease, deadline)

    def give_up(self, failed: bool, deadline: Deadline, ending: Ending | None = None) -> None:
        """Say that the node goes; what it says outlives it. Raises as `ask_to_join`.

        ending: it goes for good.
        """
        if not self._may_be_there:
            return
        wish = Wish("failed" if failed else "left", os.urandom(8).hex())
        if ending is not None:
            line = ending.last_line.decode("latin-1")
            told = (ending.exit_code, ending.unix_ms, line)
            nonce, is_final = os.urandom(8).hex(), ending.do_not_restart
            wish = Wish("gave up", nonce, ending=told, do_not_restart=is_final)
        self._write(wish, self._parting_lease, deadline)
        if self.lease:
            self._spent.append(self.lease)
        self.lease = 0
        self._may_be_there = False

    def release(self, deadline: Deadline) -> None:
        """The node has left, and leads no more: its leases guard nothing. Best effort."""
        with suppress(StoreError):
            for lease in self._spent[:]:
                self._client.revoke_lease(lease, deadline=deadline)
                with suppress(ValueError):  # a signal's handler has done it, too
                    self._spent.remove(lease)

    def close_run(self, deadline: Deadline, closure: Closure) -> None:
        """Close the run for good: no more nodes can join. Raises StoreErrors.

        The first one stays, but for a verdict, which takes the place of an ordinary close.
        """
        found = self._close_over(None, closure, deadline)
        while found is not None and closure.do_not_restart:
            if closure_in(found.value).do_not_restart:
                return
            found = self._close_over(found, closure, deadline)

    def _close_over(
        self, known: KeyValue | None, closure: Closure, deadline: Deadline
    ) -> KeyValue | None:
        """Unless something else than `known` is there, which is returned."""
        if not self._kept.current:
            self._is_published(deadline)
        lease = self._kept.get(deadline)
        key = self._keys.closed
        try:
            result = self._client.txn(
                [compare_mod(key, 0 if known is None else known.mod_revision)],
                [op_put(key, closed_value(closure), lease=lease)],
                [op_range(key)],
                what=f"run {self._keys.run_id!r}: closing it",
                deadline=deadline,
                repeatable=True,
            )
        except EtcdRequestError as error:
            if error.code == NOT_FOUND:
                self._kept.forget(lease)
            raise
        if result.succeeded:
            return None
        self._kept.give_back(lease, deadline)
        return result.range(0).first

    def keep(self, look: bool, deadline: Deadline) -> Literal["kept", "key lost", "lease lost"]:
        """Renew the lease. If the lease or the key is lost, so is the place.

        look: also check whether the key is there.
        """
        lease, known = self.lease, self._known
        if not lease:
            return "kept"
        if self._client.keep_lease(lease, deadline=deadline) == 0:
            if self.lease != lease:
                return "kept"  # it was given up meanwhile, or has a new one
            self.lease = 0
            return "lease lost"
        if not look or self._client.range(self._key, keys_only=True, deadline=deadline).kvs:
            return "kept"
        return "key lost" if self._drop(lease, known) else "kept"

    def _drop(self, lease: int, known: int) -> bool:
        """The key was not there: so the place is lost, unless it is just being written, for the
        first time or again, or was since.

        known: the revision of the last write before somebody looked.
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if not known or (self.lease, self._known) != (lease, known):
                return False
            self.lease = 0
            return True
        finally:
            self._lock.release()

    def stand(self, deadline: Deadline) -> int:
        """Try to become the leader, who is there for as long as this node is.

        Returns the revision that all writes of the leader compare; 0: another one leads.
        """
        lease = self.lease
        if not lease:
            return 0
        value = leader_value(self.name, os.urandom(8).hex())
        leader = self._keys.leader
        try:
            result = self._client.txn(
                [compare_mod(leader, 0), compare_there(self._key)],
                [op_put(leader, value, lease=lease)],
                [op_range(leader)],
                what=f"run {self._keys.run_id!r}: electing a leader",
                deadline=deadline,
                repeatable=True,
            )
        except EtcdRequestError as error:
            if error.code != NOT_FOUND:
                raise
            return 0  # the lease is gone, as the next sign of life will find out
        if result.succeeded:
            return result.revision
        found = result.range(0).first
        # Also one that was written by an attempt whose answer did not come.
        return found.mod_revision if found is not None and self.is_own(found) else 0

    def is_own(self, leader: KeyValue) -> bool:
        """Whether this node wrote that key, and is there still."""
        is_mine = leader_name(leader.value) == self.name
        return is_mine and self.lease != 0 and leader.lease == self.lease

    def _write(
        self, wish: Wish, lease_of: Callable[[Deadline], int], deadline: Deadline
    ) -> Written:
        if not self._lock.acquire(timeout=deadline.left_s):
            raise StoreNoAnswerError(
                f"run {self._keys.run_id!r}: timeout: an earlier write of this node has no "
                "answer yet"
            )
        try:
            return self._write_locked(wish.encode(), lease_of, deadline)
        finally:
            self._lock.release()

    def _write_locked(
        self, value: bytes, lease_of: Callable[[Deadline], int], deadline: Deadline
    ) -> Written:
        for _ in range(_ATTEMPTS_MAX):
            lease = lease_of(deadline)
            there, self._may_be_there = self._may_be_there, True
            try:
                result = self._put(value, lease, deadline)
            except EtcdRequestError as error:
                if error.code != NOT_FOUND:
                    raise
                self._forget(lease)
                continue
            if result.succeeded:
                self._known = result.revision
                return Written(result.revision, bool(result.range(1).kvs))
            found = result.range(1).first
            self._known = 0 if found is None else found.mod_revision
            if found is not None and found.value == value:
                return Written(found.mod_revision, bool(result.range(2).kvs))
            self._may_be_there = there
            self._claim(result, lease, deadline)
        raise EtcdConnectionError(
            f"run {self._keys.run_id!r}: the key of this node, {self._key.decode()!r}, keeps "
            "being overwritten by another client"
        )

    def _put(self, value: bytes, lease: int, deadline: Deadline) -> TxnResult:
        look = op_range(self._keys.leader, keys_only=True)
        return self._client.txn(
            [compare_value(self._keys.blob, MARKER), compare_mod(self._key, self._known)],
            [op_put(self._key, value, lease=lease), look],
            [op_range(self._keys.blob), op_range(self._key), look],
            what=f"run {self._keys.run_id!r}: writing {self._key.decode()!r}",
            deadline=deadline,
            repeatable=True,
        )

    def _claim(self, result: TxnResult, lease: int, deadline: Deadline) -> None:
        """The run is kept in this way, unless it is kept in the other already.

        For as long as the lease of this write lasts: the leader publishes the marker again.
        """
        blob = result.range(0).first
        if blob is not None and blob.value == MARKER:
            return
        if blob is not None:
            raise RendezvousStateError(
                f"run {self._keys.run_id!r}: other nodes keep its state at "
                f"{self._keys.blob_text!r} by compare-and-set (rulebook=store); start all nodes "
                "with the same rulebook, or use another run id"
            )
        try:
            self._client.txn(
                [compare_mod(self._keys.blob, 0)],
                [op_put(self._keys.blob, MARKER, lease=lease)],
                what=f"run {self._keys.run_id!r}: marking {self._keys.blob_text!r}",
                deadline=deadline,
                repeatable=True,
            )
        except EtcdRequestError as error:
            if error.code != NOT_FOUND:
                raise
            self._forget(lease)

    def _own_lease(self, deadline: Deadline) -> int:
        if not self.lease:
            self.lease, _ = self._client.grant_lease(self.ttl_s, deadline=deadline)
        return self.lease

    def _parting_lease(self, deadline: Deadline) -> int:
        """What a node says last outlives it, as what is published does.

        Where nothing is, nobody counts on the node, and its own lease does.
        """
        if not self._kept.renew(deadline) and not self._is_published(deadline):
            return self._own_lease(deadline)
        return self._kept.get(deadline)

    def _is_published(self, deadline: Deadline) -> bool:
        """Whether anything is; its lease is used from now on, unless one is known."""
        found = self._client.range(self._keys.round, keys_only=True, deadline=deadline).first
        self._kept.adopt(0 if found is None else found.lease)
        return found is not None

    def _forget(self, lease: int) -> None:
        if self.lease == lease:
            self.lease = 0
        self._kept.forget(lease)
