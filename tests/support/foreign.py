"""Stores that are Python objects: derived from ours, with all or little; or like torch's."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from rendezvous import HashStore, Store

Text = str | bytes
Value = str | bytes | bytearray | memoryview


class DerivedStore(Store):
    """Defines every operation, with our arguments, over a store in memory."""

    def __init__(self, inner: HashStore) -> None:
        super().__init__()
        self.inner = inner

    def set(self, key: Text, value: Value, ttl: Any = None) -> None:
        self.inner.set(key, value, ttl)

    def get(self, key: Text, timeout: Any = None) -> bytes:
        return self.inner.get(key, timeout)

    def try_get(self, key: Text) -> bytes | None:
        return self.inner.try_get(key)

    def watch(self, key: Text, known_version: int, timeout: Any = None) -> tuple[bytes | None, int]:
        return self.inner.watch(key, known_version, timeout)

    def set_if_version(self, key: Text, value: Value, version: int) -> tuple[int, bool]:
        return self.inner.set_if_version(key, value, version)

    def compare_exchange(self, key: Text, expected: Value, desired: Value) -> tuple[bytes, bool]:
        return self.inner.compare_exchange(key, expected, desired)

    def add(self, key: Text, amount: int) -> int:
        return self.inner.add(key, amount)

    def check(self, keys: Iterable[Text]) -> bool:
        return self.inner.check(keys)

    def wait(self, keys: Iterable[Text], timeout: Any = None) -> None:
        self.inner.wait(keys, timeout)

    def delete_key(self, key: Text) -> bool:
        return self.inner.delete_key(key)

    def delete_prefix(self, prefix: Text) -> int:
        return self.inner.delete_prefix(prefix)

    def num_keys(self) -> int:
        return self.inner.num_keys()

    def list_keys(self, prefix: Text = "") -> list[str]:
        return self.inner.list_keys(prefix)

    def append(self, key: Text, value: Value) -> None:
        self.inner.append(key, value)

    def multi_get(self, keys: Iterable[Text], timeout: Any = None) -> list[bytes]:
        return self.inner.multi_get(keys, timeout)

    def multi_set(self, keys: Iterable[Text], values: Iterable[Value]) -> None:
        self.inner.multi_set(keys, values)

    def queue_push(self, key: Text, value: Value) -> None:
        self.inner.queue_push(key, value)

    def queue_pop(self, key: Text, block: bool = True, timeout: Any = None) -> bytes:
        return self.inner.queue_pop(key, block, timeout)

    def queue_len(self, key: Text) -> int:
        return self.inner.queue_len(key)

    def barrier(
        self,
        key: Text,
        world_size: int,
        timeout: Any = None,
        rank: int | None = None,
        round: int | None = None,
    ) -> None:
        self.inner.barrier(key, world_size, timeout, rank, round)

    def exchange(
        self, key: Text, rank: int, world_size: int, value: Value, timeout: Any = None
    ) -> list[bytes]:
        return self.inner.exchange(key, rank, world_size, value, timeout)

    def clone(self, timeout: Any = None) -> DerivedStore:
        twin = DerivedStore(self.inner)
        twin.set_timeout(self.timeout)
        return twin


class SixOps(Store):
    """Defines what all else is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = HashStore()

    def set(self, key: Text, value: Value, ttl: Any = None) -> None:
        assert ttl is None
        self.inner.set(key, value)

    def get(self, key: Text, timeout: Any = None) -> bytes:
        return self.inner.get(key, timeout)

    def add(self, key: Text, amount: int) -> int:
        return self.inner.add(key, amount)

    def compare_set(self, key: Text, expected: Value, desired: Value) -> bytes:
        return self.inner.compare_set(key, expected, desired)

    def check(self, keys: Iterable[Text]) -> bool:
        return self.inner.check(keys)

    def wait(self, keys: Iterable[Text], timeout: Any = None) -> None:
        self.inner.wait(keys, timeout)


class DuckStore:
    """Has what torch's stores have, and takes what they take, over a store in memory.

    Keys that are UTF-8 must come as str, values as bytes and timeouts as timedelta.
    """

    def __init__(self, inner: HashStore) -> None:
        self.inner = inner

    def _text(self, *keys: Any) -> None:
        for key in keys:
            if isinstance(key, bytes):
                try:
                    key.decode()
                except UnicodeDecodeError:
                    continue
            assert isinstance(key, str), key

    def set(self, key: str, value: bytes, /) -> None:
        self._text(key)
        assert isinstance(value, bytes)
        self.inner.set(key, value)

    def get(self, key: str, /) -> bytes:
        self._text(key)
        return self.inner.get(key)

    def compare_set(self, key: str, expected: bytes, desired: bytes, /) -> bytes:
        self._text(key)
        return self.inner.compare_set(key, expected, desired)

    def add(self, key: str, amount: int, /) -> int:
        self._text(key)
        return self.inner.add(key, amount)

    def check(self, keys: list[str], /) -> bool:
        self._text(*keys)
        return self.inner.check(keys)

    def wait(self, keys: list[str], timeout: timedelta, /) -> None:
        self._text(*keys)
        assert isinstance(timeout, timedelta)
        self.inner.wait(keys, timeout)

    def delete_key(self, key: str, /) -> bool:
        self._text(key)
        return self.inner.delete_key(key)

    def num_keys(self) -> int:
        return self.inner.num_keys()

    def list_keys(self) -> list[str]:
        return self.inner.list_keys()[::-1]

    def append(self, key: str, value: bytes, /) -> None:
        self._text(key)
        self.inner.append(key, value)

    def multi_get(self, keys: list[str], /) -> list[bytes]:
        self._text(*keys)
        return self.inner.multi_get(keys)

    def multi_set(self, keys: list[str], values: list[bytes], /) -> None:
        self._text(*keys)
        self.inner.multi_set(keys, values)

    def queue_push(self, key: str, value: bytes, /) -> None:
        self._text(key)
        self.inner.queue_push(key, value)

    def queue_pop(self, key: str, block: bool = True) -> bytes:
        self._text(key)
        return self.inner.queue_pop(key, block)

    def queue_len(self, key: str, /) -> int:
        self._text(key)
        return self.inner.queue_len(key)

    def barrier(self, key: str, world_size: int, timeout: timedelta | None = None) -> None:
        self._text(key)
        self.inner.barrier(key, world_size, timeout)

    def clone(self) -> DuckStore:
        return DuckStore(self.inner)

    def set_timeout(self, timeout: timedelta, /) -> None:
        assert isinstance(timeout, timedelta)
        self.inner.set_timeout(timeout)

    @property
    def timeout(self) -> timedelta:
        return self.inner.timeout
