"""Which callers may arrive at a barrier or an exchange, and what an arrival writes; the same rules
as csrc/store/meeting.h for the other stores. Pure.

The key has the number of callers that have arrived, key/rank the value of each rank (exchange) or
its round (barrier with ranks), and key/world_size the world size.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rendezvous._base.arguments import check_ranks, key_bytes, quoted, shown_keys, whole_number
from rendezvous._base.errors import StoreKeysMissingError, StoreValueError

__all__ = [
    "NAMED_RANKS_MAX",
    "Arrival",
    "BarrierCall",
    "ExchangeCall",
    "barrier_call",
    "barrier_timeout_text",
    "exchange_timeout_text",
    "missing_ranks_error",
    "round_in",
    "size_key",
    "slot_key",
]

_SHOWN_RANKS_MAX = 20
NAMED_RANKS_MAX = 1024
_ROUND_MAX = 2**40
_NEW_KEY = "the key was used before: use a new key for each"


def size_key(key: bytes) -> bytes:
    return key + b"/world_size"


def slot_key(key: bytes, rank: int) -> bytes:
    return key + b"/%d" % rank


@dataclass(frozen=True)
class Arrival:
    """counts: add 1 to the count. writes: write the caller's own slot."""

    counts: bool
    writes: bool


@dataclass(frozen=True)
class BarrierCall:
    """rank: None for a caller that is only counted. token: identifies a call."""

    key: bytes
    world_size: int
    rank: int | None = None
    round: int = 1
    token: int = 0

    @property
    def target(self) -> int:
        """The count when all have arrived."""
        return self.world_size * self.round

    @property
    def slot(self) -> bytes:
        """The rank's slot while it is in the round."""
        return b"%d %d" % (self.round, self.token)

    @property
    def left_slot(self) -> bytes:
        """The rank's slot when its call has ended before all had arrived."""
        return b"%d" % self.round

    def arrive(self, world_size: bytes | None, count: int, slot: bytes | None) -> Arrival:
        """Raises StoreValueError for a caller that arrives when the key was used before."""
        _check_world_size("barrier", self.key, self.world_size, world_size)
        complete = count >= self.target
        text = f"barrier at key {quoted(self.key)}: "
        if self.rank is None:
            if complete:
                raise StoreValueError(
                    f"{text}{count} of {self.world_size} have already arrived; {_NEW_KEY} "
                    "barrier, or "
                    "pass rank= and round="
                )
            return Arrival(counts=True, writes=False)
        last = round_in(slot)
        if last > self.round or last + 1 < self.round:
            raise StoreValueError(
                f"{text}rank {self.rank} arrives at round {self.round}, but its last round was "
                f"{last or 'none'}; {_NEW_KEY} barrier, or count the rounds of each rank from 1"
            )
        if complete and last == self.round and slot not in (self.slot, self.left_slot):
            raise StoreValueError(
                f"{text}rank {self.rank} has passed round {self.round} already; {_NEW_KEY} "
                "barrier, or go to the next round"
            )
        return Arrival(counts=last < self.round, writes=True)


@dataclass(frozen=True)
class ExchangeCall:
    """The value of a rank."""

    key: bytes
    rank: int
    world_size: int
    value: bytes

    def slots(self) -> list[bytes]:
        """Of all ranks."""
        return [slot_key(self.key, each) for each in range(self.world_size)]

    def arrive(
        self,
        world_size: bytes | None,
        count: int,
        slot: bytes | None,
        have_all_come: Callable[[], bool],
    ) -> Arrival:
        """Raises StoreValueError for another value in a finished exchange.

        have_all_come: called only if the count says so.
        """
        _check_world_size("exchange", self.key, self.world_size, world_size)
        writes = slot != self.value
        if slot is not None and writes and count >= self.world_size and have_all_come():
            raise StoreValueError(
                f"exchange at key {quoted(self.key)}: all ranks have already arrived, and rank "
                f"{self.rank} gave another value; {_NEW_KEY} exchange"
            )
        return Arrival(counts=slot is None, writes=writes)


def barrier_call(key: bytes, world_size: int, rank: int | None, round: int | None) -> BarrierCall:
    """Check the arguments of `barrier`. Raises TypeError, StoreValueError, StoreLimitError."""
    callers = whole_number(world_size, "the world_size of barrier")
    text = f"barrier at key {quoted(key)}: "
    if callers < 1:
        raise StoreValueError(f"{text}world_size is {callers}; it must be at least 1")
    key_bytes("barrier", size_key(key))  # the longest that it has
    if rank is None:
        if round is not None:
            raise StoreValueError("barrier: round needs rank; pass both")
        return BarrierCall(key, callers)
    own = whole_number(rank, "the rank of barrier")
    number = 1 if round is None else whole_number(round, "the round of barrier")
    if not 1 <= number <= _ROUND_MAX:
        raise StoreValueError(f"{text}round is {number}; rounds start at 1")
    check_ranks(key, own, callers, "barrier")
    return BarrierCall(key, callers, own, number, secrets.randbits(64))


def _check_world_size(operation: str, key: bytes, world_size: int, found: bytes | None) -> None:
    """Raises StoreValueError if others used the key with another world size."""
    if found is None or found == b"%d" % world_size:
        return
    raise StoreValueError(
        f"{operation} at key {quoted(key)}: the others' world_size is "
        f"{found.decode('utf-8', 'backslashreplace')}, not {world_size}; {_NEW_KEY} {operation}"
    )


def missing_ranks_error(text: str, key: bytes, missing: Sequence[int]) -> StoreKeysMissingError:
    """Names the key, and the first of the ranks."""
    return StoreKeysMissingError(
        text, keys=shown_keys([key]), ranks=list(missing[:NAMED_RANKS_MAX])
    )


def round_in(slot: bytes | None) -> int:
    """The round in a slot; 0 if there is none."""
    digits = b"" if slot is None else slot.split(b" ", 1)[0]
    return int(digits) if digits.isdigit() and len(digits) < 20 else 0


def barrier_timeout_text(
    call: BarrierCall, count: int, missing: Sequence[int], elapsed: str
) -> str:
    """Who has not come."""
    text = f"barrier timeout after {elapsed}: "
    where = f"key {quoted(call.key)}"
    if call.rank is None:
        return f"{text}{count} of {call.world_size} have arrived at {where}"
    if call.round > 1:
        where = f"round {call.round} of {where}"
    return (
        f"{text}{len(missing)} of {call.world_size} ranks have not arrived at {where}: "
        f"{_ranks_text(missing)}"
    )


def exchange_timeout_text(key: bytes, world_size: int, missing: Sequence[int], elapsed: str) -> str:
    """Who has not come."""
    return (
        f"exchange timeout after {elapsed}: {len(missing)} of {world_size} ranks have not "
        "arrived at "
        f"key {quoted(key)}: {_ranks_text(missing)}"
    )


def _ranks_text(ranks: Sequence[int]) -> str:
    text = ", ".join(map(str, ranks[:_SHOWN_RANKS_MAX]))
    more = len(ranks) - _SHOWN_RANKS_MAX
    return f"{text} and {more} more" if more > 0 else text
