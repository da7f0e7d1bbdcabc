"""EtcdStore: the whole contract of a store, on etcd.

Owns the arguments, the timeouts and the texts; what is done with bytes and deadlines is in
values.py, waiting.py, queues.py and meeting.py. Any thread may call any method at any time,
also after a fork; no call holds up another.
"""

from collections.abc import Iterable
from datetime import timedelta

from rendezvous._base.arguments import (
    Text,
    Timeout,
    Value,
    check_ranks,
    key_bytes,
    keys_bytes,
    quoted,
    seconds,
    shown_keys,
    version_number,
    whole_number,
)
from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import (
    QueueEmptyError,
    StoreClosedError,
    StoreKeysMissingError,
    StoreValueError,
)
from rendezvous._stores.meeting_rules import barrier_call
from rendezvous._stores.store import Store, hint_for_torch
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.store.arguments import value_bytes
from rendezvous.backends.etcd.store.meeting import Meetings
from rendezvous.backends.etcd.store.queues import Queues
from rendezvous.backends.etcd.store.session import Session
from rendezvous.backends.etcd.store.space import KeySpace
from rendezvous.backends.etcd.store.values import Values
from rendezvous.backends.etcd.store.waiting import UnchangedError, Waiter
from rendezvous.backends.etcd.transport.endpoints import local_address, parse_endpoints

__all__ = ["EtcdStore"]

_TIMEOUT_S = 300.0
# What waits for nobody has the time of a round trip, however short the store's timeout is.
_ROUND_TRIP_S_MIN = 1.0


class EtcdStore(Store):
    """A store whose keys are in etcd, below one prefix.

    Args:
        client: of the cluster. Stays the caller's; `close` closes only the calling thread's
            connections.
        prefix: whoever gives the same one shares the store. A role with readwrite permission for
            `PREFIX/` is enough.
        timeout: default of the calls that wait; a timedelta or seconds, 300 s.

    Every write is done once, even when its answer is lost. Versions are etcd's modification
    revisions. Times to live are whole seconds, rounded up, and at least what the cluster allows
    (2 s by default); after a change of leader they may take as long again. A value may have what
    etcd allows (1.5 MiB by default), `multi_set` at most 127 keys.
    """

    def __init__(self, client: EtcdClient, prefix: str, timeout: Timeout | None = None) -> None:
        super().__init__()
        space = KeySpace(prefix)
        self._client = client
        self._space = space
        self._is_closed = False
        self._timeout_s = _TIMEOUT_S if timeout is None else seconds(timeout)
        self._set_up(Session(client, space))

    def _set_up(self, session: Session) -> None:
        client, space = self._client, self._space
        self._session = session
        self._values = Values(client, space, session)
        self._waiter = Waiter(client, space)
        self._queues = Queues(client, space, session)
        self._meetings = Meetings(client, space, session, self._values, self._waiter)

    def __repr__(self) -> str:
        return f"EtcdStore({self._client.endpoints}, {self._space.prefix!r}){hint_for_torch()}"

    @property
    def prefix(self) -> str:
        """What all keys begin with, without a slash at its end."""
        return self._space.prefix

    @property
    def observed_address(self) -> str:
        """From where this machine reaches the first member that is on another one; may be empty."""
        return local_address(parse_endpoints(self._client.endpoints)[0])

    @property
    def timeout(self) -> timedelta:
        """What calls that wait take when they are given no timeout."""
        try:
            return timedelta(seconds=self._timeout_s)
        except OverflowError:
            return timedelta.max

    def set_timeout(self, timeout: Timeout) -> None:
        """A timedelta or seconds."""
        self._timeout_s = seconds(timeout)

    def set(self, key: Text, value: Value, ttl: Timeout | None = None) -> None:
        """Set a value; with a ttl, for that time only."""
        name = key_bytes("set", key)
        data = value_bytes("set", name, value)
        if ttl is None:
            self._values.set(name, data, self._round_trip())
            return
        ttl_s = seconds(ttl, "a time to live")
        if ttl_s == 0:
            raise StoreValueError(
                f"set of key {quoted(name)}: ttl is 0 s; it must be more than 0; a key without a "
                "ttl never expires"
            )
        self._values.set_for(name, data, ttl_s, self._round_trip())

    def get(self, key: Text, timeout: Timeout | None = None) -> bytes:
        """The value, waited for until it is there."""
        name = key_bytes("get", key)
        return self._waiter.read("get", [name], self._deadline(timeout))[0]

    def try_get(self, key: Text) -> bytes | None:
        """The value now; None when there is none."""
        found = self._values.read(key_bytes("try_get", key), self._round_trip())
        return None if found is None else found.value

    def watch(
        self, key: Text, known_version: int, timeout: Timeout | None = None
    ) -> tuple[bytes | None, int]:
        """Wait until the version is another than the known one; (None, 0): there is no value."""
        name, known = key_bytes("watch", key), version_number(known_version)
        deadline = self._deadline(timeout)
        try:
            found = self._waiter.watch(name, known, deadline)
        except UnchangedError:
            still = f"version {known}" if known else "no value"
            raise StoreKeysMissingError(
                f"watch timeout after {deadline.elapsed_text}: key {quoted(name)} still has "
                f"{still}",
                keys=shown_keys([name]),
            ) from None
        return (None, 0) if found is None else (found.value, found.mod_revision)

    def set_if_version(self, key: Text, value: Value, version: int) -> tuple[int, bool]:
        """Set the value if it has that version, 0: if there is none; the version, and whether."""
        name, wanted = key_bytes("set_if_version", key), version_number(version)
        data = value_bytes("set_if_version", name, value)
        return self._values.set_if_version(name, data, wanted, self._round_trip())

    def compare_set(self, key: Text, expected: Value, desired: Value) -> bytes:
        """Replace the expected value (empty: or none); what is there now, or was expected."""
        return self._compare_exchange("compare_set", key, expected, desired)[0]

    def compare_exchange(self, key: Text, expected: Value, desired: Value) -> tuple[bytes, bool]:
        """As `compare_set`; what is there now, empty for nothing, and whether it was set."""
        _, value, swapped = self._compare_exchange("compare_exchange", key, expected, desired)
        return value, swapped

    def add(self, key: Text, amount: int) -> int:
        """Add to a decimal number, 0 if there is none; the sum."""
        name = key_bytes("add", key)
        number = whole_number(amount, "the amount of add")
        return self._values.add(name, number, self._round_trip())

    def append(self, key: Text, value: Value) -> None:
        """Add to the end of a value, which is empty if there is none."""
        name = key_bytes("append", key)
        data = value_bytes("append", name, value)
        self._values.append(
            name, data, lambda whole: value_bytes("append", name, whole), self._round_trip()
        )

    def check(self, keys: Iterable[Text]) -> bool:
        """Whether all keys have values, or queues with items, now."""
        return not self._waiter.missing(keys_bytes("check", keys), self._round_trip())

    def wait(self, keys: Iterable[Text], timeout: Timeout | None = None) -> None:
        """Wait until all keys have values, or queues with items, at the same time."""
        self._waiter.wait("wait", keys_bytes("wait", keys), self._deadline(timeout))

    def multi_get(self, keys: Iterable[Text], timeout: Timeout | None = None) -> list[bytes]:
        """The values of one moment, waited for until all are there."""
        names = keys_bytes("multi_get", keys)
        return self._waiter.read("multi_get", names, self._deadline(timeout))

    def multi_set(self, keys: Iterable[Text], values: Iterable[Value]) -> None:
        """Set all of them in one moment; at most 127, else StoreLimitError."""
        names = keys_bytes("multi_set", keys)
        items = list(values)
        if len(names) != len(items):
            raise StoreValueError(
                f"multi_set: {len(names)} keys but {len(items)} values; each key needs one"
            )
        pairs = {
            name: value_bytes("multi_set", name, value)
            for name, value in zip(names, items, strict=True)
        }
        self._values.set_many(pairs, self._round_trip())

    def delete_key(self, key: Text) -> bool:
        """Whether there was one."""
        return self._values.delete(key_bytes("delete_key", key), self._round_trip())

    def delete_prefix(self, prefix: Text) -> int:
        """Delete, in one moment, the values whose keys begin so; how many there were."""
        return self._values.delete_all(key_bytes("delete_prefix", prefix), self._round_trip())

    def num_keys(self) -> int:
        """How many values there are."""
        return self._values.count(self._round_trip())

    def list_keys(self, prefix: Text = "") -> list[str]:
        """The keys of values that begin so, sorted."""
        found = self._values.keys(key_bytes("list_keys", prefix), self._round_trip())
        return [key.decode("utf-8", "surrogateescape") for key in found]

    def queue_push(self, key: Text, value: Value) -> None:
        """Put an item at the end of a queue."""
        name = key_bytes("queue_push", key)
        self._queues.push(name, value_bytes("queue_push", name, value), self._round_trip())

    def queue_pop(self, key: Text, block: bool = True, timeout: Timeout | None = None) -> bytes:
        """Take the first item; wait for one, or without `block` raise QueueEmptyError."""
        name = key_bytes("queue_pop", key)
        deadline = self._deadline(timeout)
        if block:
            return self._queues.pop(name, deadline, self._round_trip(timeout))
        item = self._queues.pop_now(name, self._round_trip(timeout))
        if item is None:
            raise QueueEmptyError(
                f"queue_pop: queue {quoted(name)} is empty ({self!r}); pass block=True to wait for "
                "an item"
            )
        return item

    def queue_len(self, key: Text) -> int:
        """How many items a queue has."""
        return self._queues.length(key_bytes("queue_len", key), self._round_trip())

    def barrier(
        self,
        key: Text,
        world_size: int,
        timeout: Timeout | None = None,
        rank: int | None = None,
        round: int | None = None,
    ) -> None:
        """Wait until so many have come; with ranks, each counts once, and round after round."""
        call = barrier_call(key_bytes("barrier", key), world_size, rank, round)
        self._meetings.barrier(call, self._deadline(timeout), self._round_trip(timeout))

    def exchange(
        self,
        key: Text,
        rank: int,
        world_size: int,
        value: Value,
        timeout: Timeout | None = None,
    ) -> list[bytes]:
        """Give this rank's value; those of all, by rank, once all have come."""
        name = key_bytes("exchange", key)
        data = value_bytes("exchange", name, value)
        own = whole_number(rank, "the rank of exchange")
        ranks = whole_number(world_size, "the world_size of exchange")
        deadline = self._deadline(timeout)
        check_ranks(name, own, ranks)
        return self._meetings.exchange(
            name, own, ranks, data, deadline=deadline, round_trip=self._round_trip(timeout)
        )

    def clone(self, timeout: Timeout | None = None) -> "EtcdStore":
        """The same store, with a timeout of its own. timeout: opening it takes no time."""
        self._check_open()
        if timeout is not None:
            seconds(timeout)
        twin = EtcdStore(self._client, self._space.prefix, self._timeout_s)
        twin._set_up(self._session)
        return twin

    def has_extended_api(self) -> bool:
        """Whether it has append, multi_get and multi_set: yes."""
        return True

    def release(self, deadline: Deadline) -> None:
        """Nothing is written for now: what etcd keeps for the writers of this store may go."""
        self._session.release(deadline)

    def close(self) -> None:
        """End this object's use of the store; later calls raise StoreClosedError.

        Also closes this thread's connections, which come back when another user of the client needs
        them. Calls of other threads that wait go on to their end.
        """
        self._is_closed = True
        self._client.close()

    def _compare_exchange(
        self, operation: str, key: Text, expected: Value, desired: Value
    ) -> tuple[bytes, bytes, bool]:
        """What compare_set answers, what is there now, and whether it was set."""
        name = key_bytes(operation, key)
        before = value_bytes(operation, name, expected)
        after = value_bytes(operation, name, desired)
        found, swapped = self._values.compare_exchange(name, before, after, self._round_trip())
        return (before if found is None else found), found or b"", swapped

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreClosedError(f"{self!r} is closed; create another from its client")

    def _deadline(self, timeout: Timeout | None) -> Deadline:
        self._check_open()
        return Deadline.after(self._timeout_s if timeout is None else seconds(timeout))

    def _round_trip(self, timeout: Timeout | None = None) -> Deadline:
        return self._deadline(timeout).at_least(_ROUND_TRIP_S_MIN)
