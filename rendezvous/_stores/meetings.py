"""Barriers and exchanges built from a store's other operations, for stores that have none.

The same rules as in csrc/store/meeting.h, so callers of both may meet. Between two operations
others may arrive, or this caller may die: each arrival is counted first and written to its slot
then, so that no caller passes too early. Runs on the caller's thread and holds no lock.
"""

from collections.abc import Sequence
from typing import Protocol

from rendezvous._base.arguments import check_ranks, key_bytes
from rendezvous._base.deadline import Deadline
from rendezvous._stores.meeting_rules import (
    BarrierCall,
    ExchangeCall,
    barrier_timeout_text,
    exchange_timeout_text,
    missing_ranks_error,
    round_in,
    size_key,
    slot_key,
)

__all__ = ["Looks", "Meeting"]


class _Store(Protocol):
    """The operations that a meeting uses."""

    def has(self, name: str) -> bool: ...
    def set(self, key: bytes, value: bytes) -> None: ...
    def try_get(self, key: bytes) -> bytes | None: ...
    def add(self, key: bytes, amount: int) -> int: ...
    def compare_set(self, key: bytes, expected: bytes, desired: bytes) -> bytes: ...
    def check(self, keys: Sequence[bytes]) -> bool: ...
    def multi_get(self, keys: Sequence[bytes], timeout_s: float) -> list[bytes]: ...


class Looks:
    """Pauses of a poll: 1 to 20 ms, and not beyond the deadline."""

    def __init__(self, timeout_s: float) -> None:
        self._deadline = Deadline.after(timeout_s)
        self._pause_s = 0.001

    @property
    def left_s(self) -> float:
        return self._deadline.left_s

    @property
    def are_over(self) -> bool:
        return self._deadline.is_over

    @property
    def text(self) -> str:
        return f"timeout after {self.elapsed_text}"

    @property
    def elapsed_text(self) -> str:
        return self._deadline.elapsed_text

    def pause(self) -> None:
        self._deadline.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, 0.02)


class Meeting:
    """One call of a barrier or an exchange."""

    def __init__(self, store: _Store, looks: Looks) -> None:
        self._store = store
        self._looks = looks

    def barrier(self, call: BarrierCall) -> None:
        """Raises StoreKeysMissingError, StoreValueError."""
        store = self._store
        slot = None if call.rank is None else slot_key(call.key, call.rank)
        found = self._look(call.key, call.world_size)
        arrival = call.arrive(*found, None if slot is None else store.try_get(slot))
        if arrival.counts:
            store.add(call.key, 1)
        if slot is not None:
            store.set(slot, call.slot)
        try:
            passed = self._wait_for_all(call)
        except BaseException:
            self._leave(call)
            raise
        missing = [] if passed or call.rank is None else self._behind(call)
        if passed or (call.rank is not None and not missing):
            return
        count = self._leave(call)
        if count >= call.target and call.rank is None:
            return
        text = barrier_timeout_text(call, count, missing, self._looks.elapsed_text)
        raise missing_ranks_error(f"{text} ({store!r})", call.key, missing)

    def exchange(self, key: bytes, rank: int, world_size: int, value: bytes) -> list[bytes]:
        """Raises StoreKeysMissingError, StoreValueError."""
        key_bytes("exchange", key)
        check_ranks(key, rank, world_size)
        store = self._store
        call = ExchangeCall(key, rank, world_size, value)
        slots = call.slots()
        found = self._look(key, world_size)
        arrival = call.arrive(*found, store.try_get(slots[rank]), lambda: store.check(slots))
        if arrival.counts:
            store.add(key, 1)
        if arrival.writes:
            store.set(slots[rank], value)
        try:
            return store.multi_get(slots, self._looks.left_s)
        except Exception:
            # The store's own timeout error names keys, if anything; whoever exchanges thinks in
            # ranks.
            if not self._looks.are_over:
                raise
            missing = [each for each, slot in enumerate(slots) if not store.check([slot])]
            if not missing:
                return store.multi_get(slots, 0)
        text = exchange_timeout_text(key, world_size, missing, self._looks.elapsed_text)
        raise missing_ranks_error(f"{text} ({store!r})", key, missing)

    def _look(self, key: bytes, world_size: int) -> tuple[bytes | None, int]:
        """The others' world size, which is written if missing, and how many have arrived."""
        found: bytes | None = None
        if self._store.has("compare_set") or self._store.has("compare_exchange"):
            found = self._store.compare_set(size_key(key), b"", b"%d" % world_size) or None
        return found, self._store.add(key, 0)

    def _wait_for_all(self, call: BarrierCall) -> bool:
        """False at the deadline."""
        while True:
            if self._store.add(call.key, 0) >= call.target and not self._behind(call):
                return True
            if self._looks.are_over:
                return False
            self._looks.pause()

    def _behind(self, call: BarrierCall) -> list[int]:
        """The ranks that have not arrived at the round."""
        if call.rank is None:
            return []
        ranks = range(call.world_size)
        rounds = [round_in(self._store.try_get(slot_key(call.key, rank))) for rank in ranks]
        return [rank for rank in ranks if rounds[rank] < call.round]

    def _leave(self, call: BarrierCall) -> int:
        """Undo the count, or with a rank mark it as gone; returns how many had arrived."""
        if call.rank is not None:
            self._store.set(slot_key(call.key, call.rank), call.left_slot)
            return 0
        count = self._store.add(call.key, -1) + 1
        if count >= call.target:
            self._store.add(call.key, 1)
        return count
