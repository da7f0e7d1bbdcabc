"""A key space for each round, in whatever store the run has.

Keys of one round must not be seen in the next: old communicator ids and addresses would be taken
for new ones.
"""

from datetime import timedelta

from rendezvous import _core
from rendezvous.api import KeyValueStore

__all__ = ["round_store"]


def round_store(store: KeyValueStore, run_id: str, round_number: int) -> KeyValueStore:
    """The part of `store` that belongs to one round of one run."""
    prefix = f"torch.rendezvous.{run_id}.{round_number}"
    if isinstance(store, _core.Store):
        return _core.PrefixStore(prefix, store)
    return _PrefixedStore(prefix, store)


class _PrefixedStore:
    """What _core.PrefixStore is, over a store that is not ours (one of torch's)."""

    def __init__(self, prefix: str, store: KeyValueStore) -> None:
        self._prefix = prefix
        self.underlying_store = store

    @property
    def timeout(self) -> timedelta:
        return self.underlying_store.timeout

    def set_timeout(self, timeout: timedelta) -> None:
        self.underlying_store.set_timeout(timeout)

    def set(self, key: str, value: str) -> None:
        self.underlying_store.set(self._full(key), value)

    def get(self, key: str) -> bytes:
        return self.underlying_store.get(self._full(key))

    def add(self, key: str, amount: int) -> int:
        return self.underlying_store.add(self._full(key), amount)

    def check(self, keys: list[str]) -> bool:
        return self.underlying_store.check([self._full(key) for key in keys])

    def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
        self.underlying_store.wait(
            [self._full(key) for key in keys], self.timeout if timeout is None else timeout
        )

    def multi_get(self, keys: list[str]) -> list[bytes]:
        return self.underlying_store.multi_get([self._full(key) for key in keys])

    def multi_set(self, keys: list[str], values: list[str]) -> None:
        self.underlying_store.multi_set([self._full(key) for key in keys], values)

    def _full(self, key: str) -> str:
        return f"{self._prefix}/{key}"
