"""Queues in etcd: an item is a key, and the one that was created first is taken first.

Taking an item is deleting it in a transaction that fails when somebody else was faster, so that
each is given once. etcd finds the oldest by looking at all items of the queue: queues are for
hundreds of items, not for millions. Any thread may call it.
"""

import os

from rendezvous._base.arguments import quoted, shown_keys
from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import StoreConnectionError, StoreKeysMissingError
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.client.watch import CompactedError
from rendezvous.backends.etcd.client.wire import compare_mod, op_delete, op_put
from rendezvous.backends.etcd.store.session import Session
from rendezvous.backends.etcd.store.space import KeySpace
from rendezvous.backends.etcd.store.values import back_off
from rendezvous.backends.etcd.store.waiting import GRACE_S

__all__ = ["Queues"]


class Queues:
    """Queues of one store."""

    def __init__(self, client: EtcdClient, space: KeySpace, session: Session) -> None:
        self._client = client
        self._space = space
        self._session = session

    def push(self, key: bytes, item: bytes, deadline: Deadline) -> None:
        what = f"queue_push to queue {quoted(key)}"
        name = self._space.queue(key)[0] + os.urandom(8).hex().encode()
        if not self._session.commit(
            [], [op_put(name, item)], [], what=what, deadline=deadline
        ).done:
            raise StoreConnectionError(f"{what}: etcd rejected it without a reason")

    def length(self, key: bytes, deadline: Deadline) -> int:
        return self._client.range(*self._space.queue(key), count_only=True, deadline=deadline).count

    def pop_now(self, key: bytes, deadline: Deadline) -> bytes | None:
        """The first item; None when there is none."""
        return self._pop(key, deadline)[0]

    def pop(self, key: bytes, deadline: Deadline, round_trip: Deadline) -> bytes:
        """The first item, waited for until the deadline. Raises StoreKeysMissingError.

        round_trip: by when an item that is there must be taken.
        """
        while True:
            item, revision = self._pop(key, round_trip)
            if item is not None:
                return item
            try:
                came = self._wait(key, revision, deadline)
            except CompactedError:
                continue
            round_trip = deadline.at_least(GRACE_S)
            if came:
                continue
            # A watch that says nothing may have broken off: only a look tells what is not there.
            item, _ = self._pop(key, round_trip)
            if item is not None:
                return item
            raise StoreKeysMissingError(
                f"queue_pop timeout after {deadline.elapsed_text}: nobody has pushed to queue "
                f"{quoted(key)}",
                keys=shown_keys([key]),
            )

    def _pop(self, key: bytes, deadline: Deadline) -> tuple[bytes | None, int]:
        """The first item, or none at that revision."""
        queue = self._space.queue(key)
        what = f"queue_pop of queue {quoted(key)}"
        attempt = 0
        while True:
            found = self._client.range(*queue, limit=1, oldest_first=True, deadline=deadline)
            first = found.first
            if first is None:
                return None, found.revision
            commit = self._session.commit(
                [compare_mod(first.key, first.mod_revision)],
                [op_delete(first.key)],
                [],
                what=what,
                deadline=deadline,
            )
            if commit.done:
                return first.value, commit.revision
            attempt += 1
            back_off(attempt, what, deadline)

    def _wait(self, key: bytes, revision: int, deadline: Deadline) -> bool:
        """Until an item comes after that revision; False when the deadline passes first."""
        with self._client.watch([self._space.queue(key)], revision + 1) as watch:
            while events := watch.next(deadline):
                if any(not event.is_delete for event in events):
                    return True
        return False
