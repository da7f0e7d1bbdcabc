"""Barriers and exchanges in etcd: callers that count each other. Any thread may call them."""

from rendezvous._arguments import quoted
from rendezvous.backends.etcd._deadline import Deadline
from rendezvous.backends.etcd._session import Session
from rendezvous.backends.etcd._space import KeySpace
from rendezvous.backends.etcd._values import Values, back_off, number_of, sum_of
from rendezvous.backends.etcd._waiting import GRACE_S, UnchangedError, Waiter
from rendezvous.backends.etcd._wire import compare_mod, op_put
from rendezvous.backends.etcd.client import EtcdClient
from rendezvous.errors import StoreTimeoutError

__all__ = ["Meetings"]

_SHOWN_RANKS_MAX = 20


class Meetings:
    """Barriers and exchanges of one store.

    `round_trip`: by when the caller must have been counted, whatever it then waits for.
    """

    def __init__(
        self, client: EtcdClient, space: KeySpace, session: Session, values: Values, waiter: Waiter
    ) -> None:
        self._client = client
        self._space = space
        self._session = session
        self._values = values
        self._waiter = waiter

    def barrier(
        self, key: bytes, world_size: int, deadline: Deadline, round_trip: Deadline
    ) -> None:
        """Raises StoreTimeoutError, StoreValueError."""
        count = self._values.add(key, 1, round_trip)
        version = -1  # no key has it: the first look returns what is there
        while count < world_size:
            try:
                found = self._waiter.watch(key, version, deadline)
            except UnchangedError:
                raise StoreTimeoutError(
                    f"barrier timed out after {deadline.elapsed_text()}: {count} of {world_size} "
                    f"have come to key {quoted(key)}"
                ) from None
            version = found.mod_revision if found else 0
            count = (number_of(found.value) or 0) if found else 0

    def exchange(
        self,
        key: bytes,
        rank: int,
        world_size: int,
        value: bytes,
        *,
        deadline: Deadline,
        round_trip: Deadline,
    ) -> list[bytes]:
        """Raises StoreTimeoutError, StoreValueError."""
        self._come(key, rank, value, round_trip)
        slots = [key + b"/%d" % each for each in range(world_size)]
        try:
            return self._waiter.read("exchange", slots, deadline)
        except StoreTimeoutError as error:
            # That error names keys; whoever exchanges thinks in ranks.
            there = set(self._values.keys(key + b"/", deadline.at_least(GRACE_S)))
            missing = [each for each, slot in enumerate(slots) if slot not in there]
            if not missing:
                return self._waiter.read("exchange", slots, deadline)
            raise StoreTimeoutError(
                f"exchange timed out after {deadline.elapsed_text()}: {len(missing)} of "
                f"{world_size} ranks have not come to key {quoted(key)}: {_ranks_text(missing)}"
            ) from error

    def _come(self, key: bytes, rank: int, value: bytes, deadline: Deadline) -> None:
        """Set the slot, and count if it was empty, in one transaction."""
        slot, counter = self._space.value(key + b"/%d" % rank), self._space.value(key)
        what = f"exchange at key {quoted(key)}"
        attempt = 0
        while True:
            taken = self._client.range(slot, keys_only=True, deadline=deadline).first
            count = self._client.range(counter, deadline=deadline).first
            compare = [compare_mod(slot, taken.mod_revision if taken else 0)]
            puts = [op_put(slot, value)]
            if taken is None:
                total = sum_of(key, count.value if count else None, 1)
                compare.append(compare_mod(counter, count.mod_revision if count else 0))
                puts.append(op_put(counter, b"%d" % total, keep_lease=count is not None))
            if self._session.commit(compare, puts, [], what=what, deadline=deadline).done:
                return
            attempt += 1
            back_off(attempt, what, deadline)


def _ranks_text(ranks: list[int]) -> str:
    text = ", ".join(map(str, ranks[:_SHOWN_RANKS_MAX]))
    more = len(ranks) - _SHOWN_RANKS_MAX
    return f"{text} and {more} more" if more > 0 else text
