"""Waits until keys are there, all at one moment, and reads them as of that moment.

A read says what is missing at some revision, a watch from the next one on says what comes, and when
nothing seems to be missing any more a read of that very revision decides. So it does not matter how
fast keys come and go, nor that a watch says nothing of what was there before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rendezvous._base.arguments import quoted_list, shown_keys
from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import StoreKeysMissingError
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.client.watch import CompactedError
from rendezvous.backends.etcd.client.wire import TXN_OPERATIONS_MAX, Event, KeyValue, op_range
from rendezvous.backends.etcd.store.space import KeySpace
from rendezvous.backends.etcd.transport import Message
from rendezvous.backends.etcd.transport.errors import COMPACTED, EtcdRequestError

__all__ = ["GRACE_S", "UnchangedError", "Waiter"]

# What a read has however little time is left: now or never is a read, too, and the promise is that
# nobody waits more than 0.1 s beyond a deadline.
GRACE_S = 0.09


class UnchangedError(Exception):
    """The deadline passed, and the version is still the one that was known."""


@dataclass(frozen=True)
class _Snapshot:
    """What is there at a revision. queues: the keys of those that have items."""

    revision: int
    values: dict[bytes, bytes]
    queues: frozenset[bytes]

    def missing(self, keys: Iterable[bytes]) -> list[bytes]:
        return [key for key in keys if key not in self.values and key not in self.queues]


class Waiter:
    """Waits in one store."""

    def __init__(self, client: EtcdClient, space: KeySpace) -> None:
        self._client = client
        self._space = space

    def missing(self, keys: Sequence[bytes], deadline: Deadline) -> list[bytes]:
        """The keys that have neither a value nor a queue with items, now."""
        unique = list(dict.fromkeys(keys))
        return self._look(unique, 0, deadline, values=False).missing(unique)

    def wait(self, operation: str, keys: Sequence[bytes], deadline: Deadline) -> None:
        """Until all keys have a value, or a queue with items. Raises StoreKeysMissingError."""
        self._wait(operation, keys, deadline, values=False)

    def read(self, operation: str, keys: Sequence[bytes], deadline: Deadline) -> list[bytes]:
        """Until all keys have values; those of one moment. Raises StoreKeysMissingError."""
        found = self._wait(operation, keys, deadline, values=True).values
        return [found[key] for key in keys]

    def watch(self, key: bytes, known: int, deadline: Deadline) -> KeyValue | None:
        """Until the version is another than `known`; what is there then, None for nothing.

        Raises UnchangedError.
        """
        name = self._space.value(key)
        while True:
            found = self._client.range(name, deadline=deadline.at_least(GRACE_S))
            if (found.first.mod_revision if found.first else 0) != known:
                return found.first
            try:
                with self._client.watch([(name, b"")], found.revision + 1) as watch:
                    while events := watch.next(deadline):
                        last = events[-1]
                        if not last.is_delete:
                            return last.kv
                        if known:
                            return None
            except CompactedError:
                continue
            # A watch that says nothing may have broken off: only a look tells what is unchanged.
            found = self._client.range(name, deadline=deadline.at_least(GRACE_S))
            if (found.first.mod_revision if found.first else 0) != known:
                return found.first
            raise UnchangedError

    def _wait(
        self, operation: str, keys: Sequence[bytes], deadline: Deadline, *, values: bool
    ) -> _Snapshot:
        unique = list(dict.fromkeys(keys))
        revision = 0
        while True:
            found = self._look(unique, revision, deadline.at_least(GRACE_S), values=values)
            missing = found.missing(unique)
            if not missing:
                return found
            try:
                revision, missing = self._watch_for(
                    missing, found.revision, deadline, queues=not values
                )
            except CompactedError:
                revision = 0
                continue
            if not missing:
                continue
            # A watch that says nothing may have broken off: only a look tells what is not there.
            found = self._look(unique, 0, deadline.at_least(GRACE_S), values=values)
            missing = found.missing(unique)
            if not missing:
                return found
            raise StoreKeysMissingError(
                _timeout_text(operation, missing, len(keys), deadline), keys=shown_keys(missing)
            )

    def _watch_for(
        self, missing: list[bytes], revision: int, deadline: Deadline, *, queues: bool
    ) -> tuple[int, list[bytes]]:
        """The revision at which the last of them has come, and those that have not in time."""
        waited, absent = set(missing), set(missing)
        with self._client.watch(self._ranges(missing, queues), revision + 1) as watch:
            while events := watch.next(deadline):
                for event in events:
                    key = self._key_of(event)
                    if key not in waited or event.kv.mod_revision <= revision:
                        continue
                    if not event.is_delete:
                        absent.discard(key)
                    elif event.kv.key == self._space.value(key):
                        absent.add(key)
                    if not absent:
                        return event.kv.mod_revision, []
        return revision, [key for key in missing if key in absent]

    def _key_of(self, event: Event) -> bytes:
        queue = self._space.queue_of(event.kv.key)
        return self._space.key_of(event.kv.key) if queue is None else queue

    def _ranges(self, keys: list[bytes], queues: bool) -> list[tuple[bytes, bytes]]:
        """The narrowest ranges that hold all of these and fit one watch."""
        names = [self._space.value(key) for key in keys]
        own = [self._space.queue(key) for key in keys] * queues
        everything = self._space.values()[0], self._space.queues()[1]
        for ranges in (
            [(name, b"") for name in names] + own,
            [(min(names), max(names) + b"\0"), *([self._space.queues()] * queues)],
            [self._space.values(), *([self._space.queues()] * queues)],
        ):
            if self._client.fits_one_watch(ranges):
                return ranges
        return [everything if queues else self._space.values()]

    def _look(
        self, keys: list[bytes], revision: int, deadline: Deadline, *, values: bool
    ) -> _Snapshot:
        """`values`: with the values, and without queues."""
        try:
            return self._read(keys, revision, deadline, values=values)
        except EtcdRequestError as error:
            if error.code != COMPACTED:
                raise
        return self._look(keys, 0, deadline, values=values)

    def _read(
        self, keys: list[bytes], revision: int, deadline: Deadline, *, values: bool
    ) -> _Snapshot:
        reads = [op_range(self._space.value(key), keys_only=not values) for key in keys]
        revision, found = self._ranges_at(revision, keys, reads, deadline)
        there = {key: kv.value for key, kv in found.items()}
        absent = [key for key in keys if key not in there]
        if values or not absent:
            return _Snapshot(revision, there, frozenset())
        looks = [op_range(*self._space.queue(key), limit=1, keys_only=True) for key in absent]
        revision, items = self._ranges_at(revision, absent, looks, deadline)
        return _Snapshot(revision, there, frozenset(items))

    def _ranges_at(
        self, revision: int, keys: list[bytes], reads: list[Message], deadline: Deadline
    ) -> tuple[int, dict[bytes, KeyValue]]:
        """The revision, and the first that each key's range found."""
        found: dict[bytes, KeyValue] = {}
        for begin in range(0, len(keys), TXN_OPERATIONS_MAX):
            part = keys[begin : begin + TXN_OPERATIONS_MAX]
            result = self._client.read(
                reads[begin : begin + TXN_OPERATIONS_MAX],
                revision=revision,
                what=f"reading {quoted_list(part)}",
                deadline=deadline,
            )
            # All parts are of the moment of the first.
            revision = result.revision
            for key, each in zip(part, result.ranges, strict=True):
                if each.first is not None:
                    found[key] = each.first
        return revision, found


def _timeout_text(operation: str, missing: list[bytes], wanted: int, deadline: Deadline) -> str:
    text = f"{operation} timeout after {deadline.elapsed_text}: "
    if wanted == 1:
        return f"{text}nobody has set key {quoted_list(missing)}"
    return f"{text}{len(missing)} of {wanted} keys were never set: {quoted_list(missing)}"
