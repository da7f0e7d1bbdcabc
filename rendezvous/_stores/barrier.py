"""Barrier: a barrier that the same ranks pass again and again, at one key of any store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rendezvous._base.errors import StoreValueError

if TYPE_CHECKING:
    from datetime import timedelta

    from rendezvous._stores.store import Store

__all__ = ["Barrier"]


class Barrier:
    """A barrier that the same ranks can pass again and again.

    Each rank creates one, with the same key, and calls `wait` in the same order. A rank that is
    already in the next round does not disturb those that are still leaving this one. The key, and
    keys below it, one for each rank, stay in the store; a job that starts again needs another key.

    Args:
        store: any store; not owned.
        key: str or bytes.
        rank: of this caller, 0 to world_size - 1.
        world_size: how many ranks there are.
    """

    def __init__(self, store: Store, key: str | bytes, rank: int, world_size: int) -> None:
        if not 0 <= rank < world_size:
            raise StoreValueError(f"Barrier: rank {rank} is not between 0 and {world_size - 1}")
        self._store = store
        self._key = key
        self._rank = rank
        self._world_size = world_size
        self._round = 0

    def __repr__(self) -> str:
        return (
            f"Barrier({self._key!r}, rank {self._rank} of {self._world_size}, round {self._round})"
        )

    @property
    def round(self) -> int:
        """How many rounds this rank has passed."""
        return self._round

    def wait(self, timeout: timedelta | float | None = None) -> None:
        """Wait until all ranks have arrived at this round, up to `timeout` (default: the store's).

        Raises StoreKeysMissingError, whose `ranks` are the missing ones; this rank still counts,
        and may call again for the same round. Raises StoreValueError when the key was used before:
        by another job, or for another world size. One object is for one thread at a time.
        """
        self._store.barrier(
            self._key, self._world_size, timeout, rank=self._rank, round=self._round + 1
        )
        self._round += 1
