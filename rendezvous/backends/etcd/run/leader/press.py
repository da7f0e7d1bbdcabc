"""Publishes for the leader of a run on etcd. Every write compares the leader's key, and the last
publication: nothing is written by one that was followed by another.

Owns how a publication is divided where it is large. Called from the leader's thread.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.client.lease import KeptLease
from rendezvous.backends.etcd.client.wire import compare_mod, op_delete, op_put, op_range
from rendezvous.backends.etcd.run.keys import MARKER, RunKeys, Summary
from rendezvous.backends.etcd.run.leader.book import Refusal
from rendezvous.backends.etcd.transport import Message
from rendezvous.backends.etcd.transport.errors import NOT_FOUND, EtcdRequestError

__all__ = ["FencedError", "Press"]

# Of values in one request, below etcd's 1.5 MiB with base64, which only counts on the way there.
_REQUEST_BYTES_MAX = 768 * 1024
_REQUEST_KEYS_MAX = 100
# A lease that vanishes so often between being granted and being used is no accident.
_LEASE_ATTEMPTS = 3


class FencedError(Exception):
    """Another one leads, or nobody does."""


class Press:
    """Of one term.

    Args:
        fence: the revision of the leader's key.
        kept: the lease of all that is published.
    """

    def __init__(
        self, client: EtcdClient, keys: RunKeys, fence: int, kept: KeptLease, exchange_s: float
    ) -> None:
        self._client = client
        self._keys = keys
        self._fence = fence
        self._kept = kept
        self._exchange_s = exchange_s
        self._round_revision = 0
        self._lease = 0

    def begin(self, round_revision: int) -> None:
        """From what was last published at that revision; 0: nothing was."""
        self._round_revision = round_revision

    def publish(
        self,
        summary: Summary,
        state: Sequence[bytes],
        seats: Sequence[bytes],
        refusals: Sequence[Refusal],
    ) -> None:
        """All of it becomes visible with the summary. Raises FencedError, StoreErrors."""
        keys = self._keys
        parts = [(keys.state(summary.sequence, i), piece) for i, piece in enumerate(state)]
        parts += [(keys.seats(summary.placed_round, i), page) for i, page in enumerate(seats)]
        parts += [(keys.refused(each.name), _encode(each)) for each in refusals]
        *before, last = _batches(parts)
        for batch in before:
            self._write(partial(_puts, batch), None)
        value = summary.encode()

        def operations(lease: int) -> list[Message]:
            found = [*_puts(last, lease), op_put(keys.round, value, lease=lease)]
            # Again each time, as the lease may be another leader's.
            found += [op_put(keys.blob, MARKER, lease=lease)]
            found.append(op_delete(*keys.states_before(summary.sequence)))
            if seats:
                # Those of the round before are still read by who is slow.
                found.append(op_delete(*keys.seats_before(summary.placed_round - 1)))
            return found

        self._write(operations, value)

    def keeps(self) -> bool:
        """Whether what is published lives on with this leader's lease, which is renewed here."""
        return self._kept.get(Deadline.after(self._exchange_s)) == self._lease

    def clear(self, left: Mapping[bytes, int]) -> None:
        """Delete keys of nodes that went, unless they came back meanwhile."""
        entries = iter(left.items())
        while batch := list(islice(entries, _REQUEST_KEYS_MAX)):
            if not self._clear(batch) and len(batch) > 1:
                for entry in batch:
                    self._clear([entry])

    def resign(self) -> None:
        """Let another one lead."""
        leader = self._keys.leader
        self._client.txn(
            [compare_mod(leader, self._fence)],
            [op_delete(leader)],
            what=f"run {self._keys.run_id!r}: resigning",
            deadline=Deadline.after(self._exchange_s),
            repeatable=True,
        )

    def _clear(self, batch: Sequence[tuple[bytes, int]]) -> bool:
        result = self._client.txn(
            [
                compare_mod(self._keys.leader, self._fence),
                *(compare_mod(key, revision) for key, revision in batch),
            ],
            [op_delete(key) for key, _ in batch],
            what=f"run {self._keys.run_id!r}: removing nodes that left",
            deadline=Deadline.after(self._exchange_s),
            repeatable=True,
        )
        return result.succeeded

    def _write(self, operations: Callable[[int], list[Message]], value: bytes | None) -> None:
        """value: of the summary, where it is a part of this; the same is never written twice."""
        keys = self._keys
        for _ in range(_LEASE_ATTEMPTS):
            deadline = Deadline.after(self._exchange_s)
            lease = self._kept.get(deadline)
            try:
                result = self._client.txn(
                    [
                        compare_mod(keys.leader, self._fence),
                        compare_mod(keys.round, self._round_revision),
                    ],
                    operations(lease),
                    [op_range(keys.leader, keys_only=True), op_range(keys.round)],
                    what=f"run {keys.run_id!r}: publishing",
                    deadline=deadline,
                    repeatable=True,
                )
            except EtcdRequestError as error:
                if error.code != NOT_FOUND:
                    raise
                self._kept.forget(lease)
                continue
            self._lease = lease
            if result.succeeded:
                if value is not None:
                    self._round_revision = result.revision
                return
            leader, found = result.range(0).first, result.range(1).first
            if leader is None or leader.mod_revision != self._fence:
                self._kept.give_back(lease, deadline)
                raise FencedError
            revision = 0 if found is None else found.mod_revision
            if found is not None and found.value == value:
                self._round_revision = revision
                return
            # Somebody deleted or changed what only the leader writes.
            self._round_revision = revision
        raise EtcdRequestError(
            f"run {keys.run_id!r}: another client keeps deleting the published state", NOT_FOUND
        )


def _puts(parts: Sequence[tuple[bytes, bytes]], lease: int) -> list[Message]:
    return [op_put(key, value, lease=lease) for key, value in parts]


def _batches(parts: Sequence[tuple[bytes, bytes]]) -> list[list[tuple[bytes, bytes]]]:
    batches: list[list[tuple[bytes, bytes]]] = [[]]
    size = 0
    for key, value in parts:
        size += len(key) + len(value)
        if size > _REQUEST_BYTES_MAX or len(batches[-1]) >= _REQUEST_KEYS_MAX:
            batches.append([])
            size = len(key) + len(value)
        batches[-1].append((key, value))
    return batches


def _encode(refusal: Refusal) -> bytes:
    fields = {"revision": refusal.revision, "kind": refusal.kind, "text": refusal.text}
    return json.dumps(fields).encode()
