"""The operations of the store on values, on bytes and deadlines. Any thread may call them."""

import math
import random
from collections.abc import Callable

from rendezvous._base.arguments import quoted
from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import (
    StoreConnectionError,
    StoreLimitError,
    StoreTimeoutError,
    StoreValueError,
)
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.client.wire import (
    KeyValue,
    compare_mod,
    compare_there,
    compare_value,
    op_delete,
    op_put,
    op_range,
)
from rendezvous.backends.etcd.store.session import OPERATIONS_MAX, Session
from rendezvous.backends.etcd.store.space import KeySpace
from rendezvous.backends.etcd.transport import Message

__all__ = ["Values", "back_off", "number_of", "sum_of"]

_INT64_MAX = 2**63 - 1
_NUMBER_DIGITS_MAX = 19
# The longest lease that etcd grants; nobody waits for its end.
_TTL_S_MAX = 9_000_000_000


class Values:
    """Values of one store."""

    def __init__(self, client: EtcdClient, space: KeySpace, session: Session) -> None:
        self._client = client
        self._space = space
        self._session = session

    def set(self, key: bytes, value: bytes, deadline: Deadline) -> None:
        self._put([op_put(self._space.value(key), value)], f"set of key {quoted(key)}", deadline)

    def set_for(self, key: bytes, value: bytes, ttl_s: float, deadline: Deadline) -> None:
        whole_s = min(math.ceil(min(ttl_s, _TTL_S_MAX)), _TTL_S_MAX)
        lease, _ = self._client.grant_lease(whole_s, deadline=deadline)
        put = op_put(self._space.value(key), value, lease=lease)
        self._put([put], f"set of key {quoted(key)}", deadline)

    def set_many(self, pairs: dict[bytes, bytes], deadline: Deadline) -> None:
        if len(pairs) > OPERATIONS_MAX:
            raise StoreLimitError(
                f"multi_set: {len(pairs)} keys; etcd sets at most {OPERATIONS_MAX} at once, so "
                "split the call, or put them into one value"
            )
        if pairs:
            puts = [op_put(self._space.value(key), value) for key, value in pairs.items()]
            self._put(puts, f"multi_set of {len(pairs)} keys", deadline)

    def read(self, key: bytes, deadline: Deadline) -> KeyValue | None:
        return self._client.range(self._space.value(key), deadline=deadline).first

    def compare_exchange(
        self, key: bytes, expected: bytes, desired: bytes, deadline: Deadline
    ) -> tuple[bytes | None, bool]:
        """What is there now, None for nothing, and whether it was set."""
        name = self._space.value(key)
        what = f"compare_set of key {quoted(key)}"
        # An empty value is expected where there is none, too: first the case that makes keys.
        compare = compare_value(name, expected) if expected else compare_mod(name, 0)
        while True:
            commit = self._session.commit(
                [compare], [op_put(name, desired)], [op_range(name)], what=what, deadline=deadline
            )
            if commit.done:
                return desired, True
            found = commit.found(0)
            if expected or (found is not None and found.value):
                return (None if found is None else found.value), False
            compare = compare_mod(name, found.mod_revision if found else 0)

    def set_if_version(
        self, key: bytes, value: bytes, version: int, deadline: Deadline
    ) -> tuple[int, bool]:
        name = self._space.value(key)
        if version > _INT64_MAX:
            found = self.read(key, deadline)
            return (found.mod_revision if found else 0), False
        commit = self._session.commit(
            [compare_mod(name, version)],
            [op_put(name, value)],
            [op_range(name, keys_only=True)],
            what=f"set_if_version of key {quoted(key)}",
            deadline=deadline,
        )
        if commit.done:
            return commit.revision, True
        found = commit.found(0)
        return (found.mod_revision if found else 0), False

    def add(self, key: bytes, amount: int, deadline: Deadline) -> int:
        def change(value: bytes | None) -> bytes:
            return b"%d" % sum_of(key, value, amount)

        return int(self._change(key, change, f"add to key {quoted(key)}", deadline))

    def append(
        self, key: bytes, value: bytes, check: Callable[[bytes], object], deadline: Deadline
    ) -> None:
        """check: of the whole value, before it is written."""

        def change(before: bytes | None) -> bytes:
            after = (before or b"") + value
            check(after)
            return after

        self._change(key, change, f"append to key {quoted(key)}", deadline)

    def delete(self, key: bytes, deadline: Deadline) -> bool:
        name = self._space.value(key)
        commit = self._session.commit(
            [compare_there(name)],
            [op_delete(name)],
            [],
            what=f"delete_key of key {quoted(key)}",
            deadline=deadline,
        )
        return commit.done

    def delete_all(self, prefix: bytes, deadline: Deadline) -> int:
        start, end = self._space.values(prefix)
        commit = self._session.commit(
            [],
            [op_delete(start, end)],
            [],
            what=f"delete_prefix of {quoted(prefix)}",
            deadline=deadline,
        )
        if commit.answers is not None:
            return commit.answers.deleted(0)
        # The answer was lost: what was there just before is what was deleted.
        before = self._client.range(
            start, end, count_only=True, revision=commit.revision - 1, deadline=deadline
        )
        return before.count

    def count(self, deadline: Deadline) -> int:
        return self._client.range(*self._space.values(), count_only=True, deadline=deadline).count

    def keys(self, prefix: bytes, deadline: Deadline) -> list[bytes]:
        """Sorted."""
        found = self._client.range(*self._space.values(prefix), keys_only=True, deadline=deadline)
        return [self._space.key_of(kv.key) for kv in found.kvs]

    def _put(self, puts: list[Message], what: str, deadline: Deadline) -> None:
        commit = self._session.commit([], puts, [], what=what, deadline=deadline)
        if not commit.done:
            raise StoreConnectionError(f"{what}: etcd rejected it without a reason")

    def _change(
        self,
        key: bytes,
        change: Callable[[bytes | None], bytes],
        what: str,
        deadline: Deadline,
    ) -> bytes:
        """Replace a value by what `change` makes of it; a lease that it has stays."""
        name = self._space.value(key)
        attempt = 0
        while True:
            # Read anew after each pause: what was there before it has been replaced since.
            found = self.read(key, deadline)
            after = change(None if found is None else found.value)
            commit = self._session.commit(
                [compare_mod(name, found.mod_revision if found else 0)],
                [op_put(name, after, keep_lease=found is not None)],
                [],
                what=what,
                deadline=deadline,
            )
            if commit.done:
                return after
            attempt += 1
            back_off(attempt, what, deadline)


def back_off(attempt: int, what: str, deadline: Deadline) -> None:
    """Between attempts at a key that others change too. Raises when there is no time for more."""
    if deadline.is_over:
        raise StoreTimeoutError(
            f"{what} timeout after {deadline.elapsed_text}: other clients changed it {attempt} "
            "times meanwhile; spread the load over several keys"
        )
    pause_s = random.uniform(0, 0.001 * 2 ** min(attempt, 6))  # noqa: S311  (spreads clients)
    deadline.sleep(pause_s)


def number_of(value: bytes) -> int | None:
    """A decimal number of 64 bits; None for what is none."""
    digits = value[1:] if value[:1] == b"-" else value
    # Zeros before it are no reason to refuse a number; the limit is that of a conversion's cost.
    if not digits.isdigit() or len(digits.lstrip(b"0")) > _NUMBER_DIGITS_MAX:
        return None
    number = int(digits.lstrip(b"0") or b"0") * (-1 if value[:1] == b"-" else 1)
    return number if -_INT64_MAX - 1 <= number <= _INT64_MAX else None


def sum_of(key: bytes, value: bytes | None, amount: int) -> int:
    """A value, 0 if there is none, plus the amount. Raises StoreValueError."""
    number = 0 if value is None else number_of(value)
    if value is not None and number is None:
        raise StoreValueError(
            f"add to key {quoted(key)}: its value {quoted(value)} is not a decimal 64-bit "
            "number; use "
            "another key for the counter"
        )
    total = (number or 0) + amount
    if not -_INT64_MAX - 1 <= total <= _INT64_MAX:
        raise StoreValueError(
            f"add to key {quoted(key)}: {quoted(value or b'0')} plus {amount} does not fit in 64 "
            "bits"
        )
    return total
