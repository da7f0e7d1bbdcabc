"""Barriers and exchanges in etcd: callers that count each other. Any thread may call them."""

import contextlib
from collections.abc import Callable

from rendezvous._base.arguments import quoted, shown_keys
from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import (
    StoreConnectionError,
    StoreError,
    StoreKeysMissingError,
    StoreNoAnswerError,
)
from rendezvous._stores.meeting_rules import (
    NAMED_RANKS_MAX,
    Arrival,
    BarrierCall,
    ExchangeCall,
    barrier_timeout_text,
    exchange_timeout_text,
    missing_ranks_error,
    round_in,
    size_key,
    slot_key,
)
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.client.wire import KeyValue, compare_mod, op_put, op_range
from rendezvous.backends.etcd.store.session import Session
from rendezvous.backends.etcd.store.space import KeySpace
from rendezvous.backends.etcd.store.values import Values, back_off, number_of, sum_of
from rendezvous.backends.etcd.store.waiting import GRACE_S, UnchangedError, Waiter

__all__ = ["Meetings"]


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

    def barrier(self, call: BarrierCall, deadline: Deadline, round_trip: Deadline) -> None:
        """Raises StoreKeysMissingError, StoreValueError."""

        def arrive(size: KeyValue | None, count: int, slot: KeyValue | None) -> Arrival:
            return call.arrive(_value(size), count, _value(slot))

        self._come(
            f"barrier at key {quoted(call.key)}",
            (call.key, call.world_size, call.rank),
            arrive,
            call.slot,
            round_trip,
        )
        try:
            if self._wait_for(call, deadline):
                return
        except (StoreConnectionError, StoreNoAnswerError):
            # It stays counted, like one whose process died: nobody is there to be told.
            raise
        except BaseException:
            with contextlib.suppress(StoreError):
                self._leave(call, deadline.at_least(GRACE_S))
            raise
        self._leave_or_pass(call, deadline)

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
        """Raises StoreKeysMissingError, StoreValueError."""
        call = ExchangeCall(key, rank, world_size, value)
        slots = call.slots()

        def have_all_come() -> bool:
            return set(self._values.keys(key + b"/", round_trip)).issuperset(slots)

        def arrive(size: KeyValue | None, count: int, slot: KeyValue | None) -> Arrival:
            return call.arrive(_value(size), count, _value(slot), have_all_come)

        what = f"exchange at key {quoted(key)}"
        self._come(what, (key, world_size, rank), arrive, value, round_trip)
        try:
            return self._waiter.read("exchange", slots, deadline)
        except StoreKeysMissingError as error:
            # That error names keys, though not all of many; whoever exchanges thinks in ranks.
            missing = [each for each, name in enumerate(shown_keys(slots)) if name in error.keys]
            if len(error.keys) > len(missing) or len(missing) == NAMED_RANKS_MAX:
                there = set(self._values.keys(key + b"/", deadline.at_least(GRACE_S)))
                missing = [each for each, slot in enumerate(slots) if slot not in there]
            if not missing:
                return self._waiter.read("exchange", slots, deadline)
            text = exchange_timeout_text(key, world_size, missing, deadline.elapsed_text)
            raise missing_ranks_error(text, key, missing) from error

    def _come(
        self,
        what: str,
        who: tuple[bytes, int, int | None],
        arrive: Callable[[KeyValue | None, int, KeyValue | None], Arrival],
        own: bytes,
        deadline: Deadline,
    ) -> None:
        """Write an arrival in one transaction. who: key, world size, rank."""
        key, world_size, rank = who
        counter, sizes = self._space.value(key), self._space.value(size_key(key))
        slot = self._space.value(slot_key(key, rank)) if rank is not None else b""
        reads = [op_range(sizes), op_range(counter), *([op_range(slot)] if slot else [])]
        attempt = 0
        while True:
            ranges = self._client.read(reads, what=what, deadline=deadline).ranges
            size, count, *slots = [each.first for each in ranges]
            found = slots[0] if slots else None
            total = sum_of(key, _value(count), 0)
            arrival = arrive(size, total, found)
            compare = [compare_mod(sizes, _version(size)), compare_mod(counter, _version(count))]
            puts = []
            if arrival.counts:
                total = sum_of(key, _value(count), 1)
                puts.append(op_put(counter, b"%d" % total, keep_lease=count is not None))
            if arrival.writes and slot:
                compare.append(compare_mod(slot, _version(found)))
                puts.append(op_put(slot, own))
            if size is None:
                puts.append(op_put(sizes, b"%d" % world_size))
            if not puts:
                return
            if self._session.commit(compare, puts, [], what=what, deadline=deadline).done:
                return
            attempt += 1
            back_off(attempt, what, deadline)

    def _wait_for(self, call: BarrierCall, deadline: Deadline) -> bool:
        """Wait until all have arrived; False at the deadline."""
        version = -1  # no key has it: the first look returns what is there
        while True:
            try:
                found = self._waiter.watch(call.key, version, deadline)
            except UnchangedError:
                return False
            version = _version(found)
            if found is not None and (number_of(found.value) or 0) >= call.target:
                return True

    def _leave_or_pass(self, call: BarrierCall, deadline: Deadline) -> None:
        """At the deadline. Raises StoreKeysMissingError, unless all arrived in the last moment."""
        before = deadline.elapsed_text
        later = deadline.at_least(GRACE_S)
        missing: list[int] = []
        if call.rank is not None:
            there = self._rounds(call, later)
            missing = [each for each in range(call.world_size) if there.get(each, 0) < call.round]
        try:
            count = self._leave(call, later)
        except (StoreConnectionError, StoreNoAnswerError):
            # It stays counted, like one whose process died; who is missing is known all the same.
            if call.rank is None:
                raise
            count = 0
        if count < call.target:
            text = barrier_timeout_text(call, count, missing, before)
            raise missing_ranks_error(text, call.key, missing)

    def _rounds(self, call: BarrierCall, deadline: Deadline) -> dict[int, int]:
        """To which round each rank has come."""
        start, end = self._space.values(call.key + b"/")
        rounds = {}
        for kv in self._client.range(start, end, deadline=deadline).kvs:
            rank = kv.key[len(start) :]
            if rank.isdigit():
                rounds[int(rank)] = round_in(kv.value)
        return rounds

    def _leave(self, call: BarrierCall, deadline: Deadline) -> int:
        """Undo the count, or mark the rank as gone, unless all have arrived; returns the count."""
        what = f"leaving the barrier at key {quoted(call.key)}"
        counter = self._space.value(call.key)
        slot = self._space.value(slot_key(call.key, call.rank)) if call.rank is not None else b""
        reads = [op_range(counter), *([op_range(slot)] if slot else [])]
        attempt = 0
        while True:
            ranges = self._client.read(reads, what=what, deadline=deadline).ranges
            count = ranges[0].first
            total = (number_of(count.value) or 0) if count is not None else 0
            if total >= call.target:
                return total
            compare = [compare_mod(counter, _version(count))]
            if not slot:
                if total < 1:
                    return total
                puts = [op_put(counter, b"%d" % (total - 1), keep_lease=True)]
            else:
                found = ranges[1].first
                if _value(found) != call.slot:
                    return total
                compare.append(compare_mod(slot, _version(found)))
                puts = [op_put(slot, call.left_slot)]
            if self._session.commit(compare, puts, [], what=what, deadline=deadline).done:
                return total
            attempt += 1
            back_off(attempt, what, deadline)


def _value(found: KeyValue | None) -> bytes | None:
    return None if found is None else found.value


def _version(found: KeyValue | None) -> int:
    return 0 if found is None else found.mod_revision
