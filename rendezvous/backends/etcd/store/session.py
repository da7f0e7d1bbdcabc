"""Writes that are done exactly once, whatever becomes of their answers.

Each writer has a record in etcd, and each of its transactions puts a new number into it, if the
record is still as the writer left it. Sent a second time because an answer was lost, a transaction
fails that comparison, and the number in the record tells that the first one had succeeded. A first
one that a member held back and does much later fails it too: it cannot undo what was written since.

A record has a lease, and goes when its writer has been silent for long. Any thread may commit, also
after a fork: no two use one writer at a time.
"""

import os
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import StoreError
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.client.lease import KeptLease
from rendezvous.backends.etcd.client.wire import (
    TXN_OPERATIONS_MAX,
    KeyValue,
    TxnResult,
    compare_mod,
    op_put,
    op_range,
)
from rendezvous.backends.etcd.store.space import KeySpace
from rendezvous.backends.etcd.transport import Message
from rendezvous.backends.etcd.transport.errors import (
    NOT_FOUND,
    EtcdConnectionError,
    EtcdRequestError,
)

__all__ = ["OPERATIONS_MAX", "Commit", "Session"]

# One is the record's.
OPERATIONS_MAX = TXN_OPERATIONS_MAX - 1
_RECORD_TTL_S = 7200
_LOSSES_MAX = 5


@dataclass(frozen=True)
class Commit:
    """How a transaction ended.

    done: whether its comparisons held and it was done.
    revision: of the write, or of the comparison.
    answers: of its operations; None when it was done and the answer was lost.
    """

    done: bool
    revision: int
    answers: TxnResult | None

    def found(self, position: int) -> KeyValue | None:
        """What a range in the failing branch found."""
        return None if self.answers is None else self.answers.range(position).first


@dataclass(frozen=True)
class _Request:
    """As of `commit`."""

    compare: Sequence[Message]
    success: Sequence[Message]
    failure: Sequence[Message]
    what: str


@dataclass
class _Writer:
    """revision: of the last write to its record; 0: it has none yet."""

    name: bytes
    number: int = 0
    revision: int = 0


class Session:
    """The writers of one store in this process."""

    def __init__(self, client: EtcdClient, space: KeySpace) -> None:
        self._client = client
        self._space = space
        self._begin()

    def _begin(self) -> None:
        # How many commits are under way is a matter of one process, as the writers are.
        self._pid = os.getpid()
        self._lease = KeptLease(self._client, _RECORD_TTL_S)
        self._idle: deque[_Writer] = deque()
        self._lock = threading.RLock()  # never held while something is sent
        self._under_way = 0

    def commit(
        self,
        compare: Sequence[Message],
        success: Sequence[Message],
        failure: Sequence[Message],
        *,
        what: str,
        deadline: Deadline,
    ) -> Commit:
        """Do `success`, once, if all comparisons hold; else `failure`, which only reads.

        Raises as the client; an `ambiguous` error says that it may have been done, or be done yet.
        """
        self._note_fork()
        with self._lock:
            self._under_way += 1
        try:
            return self._commit(_Request(compare, success, failure, what), deadline)
        finally:
            with self._lock:
                self._under_way -= 1

    def _commit(self, request: _Request, deadline: Deadline) -> Commit:
        for _ in range(_LOSSES_MAX):
            writer = self._take()
            try:
                result = self._try(writer, request, deadline)
            except EtcdRequestError as error:
                # Nothing was done. Whatever else failed leaves a writer of whom nobody knows what
                # it wrote: it is not used again.
                self._idle.append(writer)
                if error.code != NOT_FOUND:
                    raise
                continue
            if result is not None:
                self._idle.append(writer)
                return result
            # All records have one lease, and so one fate.
            self._idle.clear()
        raise EtcdConnectionError(
            f"{request.what}: another client keeps deleting the records of this store's writers at "
            f"{self._space.session('').decode()!r}"
        )

    def release(self, deadline: Deadline) -> None:
        """End the records, unless something is being written, which needs its own to be done once.

        Best effort: they run out in any case. A write that a member held back and does later fails:
        it compares its record, and has the record's lease.
        """
        self._note_fork()
        with self._lock:
            if self._under_way:
                return
            lease = self._lease.current
            self._lease.forget(lease)
            self._idle.clear()
        with suppress(StoreError):
            if lease:
                self._client.revoke_lease(lease, deadline=deadline)

    def _note_fork(self) -> None:
        if self._pid != os.getpid():
            # The parent goes on with the lease and the writers that it had.
            self._begin()

    def _try(self, writer: _Writer, request: _Request, deadline: Deadline) -> Commit | None:
        """None: the record is not as this writer left it, so that nothing was done."""
        lease = self._lease.get(deadline)
        writer.number += 1
        record = b"%d" % writer.number
        try:
            result = self._client.txn(
                [compare_mod(writer.name, writer.revision), *request.compare],
                [op_put(writer.name, record, lease=lease), *request.success],
                [op_range(writer.name), *request.failure],
                what=request.what,
                deadline=deadline,
                repeatable=True,
            )
        except EtcdRequestError as error:
            if error.code == NOT_FOUND:
                self._lease.forget(lease)
            raise
        answers = TxnResult(result.succeeded, result.revision, result.responses[1:])
        if result.succeeded:
            writer.revision = result.revision
            return Commit(True, result.revision, answers)
        found = result.range(0).first
        if found is not None and found.value == record:
            writer.revision = found.mod_revision
            return Commit(True, found.mod_revision, None)
        if (found.mod_revision if found else 0) == writer.revision:
            return Commit(False, result.revision, answers)
        return None

    def _take(self) -> _Writer:
        try:
            return self._idle.pop()
        except IndexError:
            return _Writer(self._space.session(os.urandom(8).hex()))
