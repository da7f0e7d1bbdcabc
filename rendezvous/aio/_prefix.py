"""A separate name space in a store for asyncio."""

import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from datetime import timedelta
from typing import Any

from rendezvous._base.arguments import Text, bytes_of, list_of, quoted
from rendezvous._base.errors import StoreKeysMissingError
from rendezvous._stores.store import Store as BlockingStore
from rendezvous.aio._operations import OPERATIONS, Store
from rendezvous.aio._watch import Changed

__all__ = ["PrefixStore"]

# What names keys among an operation's arguments, and how it is converted.
_CONVERT: dict[str, Callable[[bytes, Any], Any]] = {
    "key": lambda prefix, key: prefix + bytes_of(key),
    "prefix": lambda prefix, key: prefix + bytes_of(key),
    "keys": lambda prefix, keys: [prefix + key for key in list_of(keys)],
}
_SIGNATURES = {name: inspect.signature(getattr(BlockingStore, name)) for name in OPERATIONS}


class PrefixStore(Store):
    """A view of another store in which every key begins with `prefix` and a '/'.

    The timeout is the underlying store's, num_keys counts all of that store's keys, and closing the
    view closes the store.
    """

    def __init__(self, prefix: Text, store: Store) -> None:
        self._prefix = bytes_of(prefix, "a prefix") + b"/"
        self._store = store

    @property
    def underlying_store(self) -> Store:
        """The store below."""
        return self._store

    async def _carry(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        bound = _SIGNATURES[name].bind(self, *args, **options)
        if name == "list_keys":
            bound.apply_defaults()
        for argument, convert in _CONVERT.items():
            if argument in bound.arguments:
                bound.arguments[argument] = convert(self._prefix, bound.arguments[argument])
        try:
            found = await getattr(self._store, name)(*bound.args[1:], **bound.kwargs)
        except StoreKeysMissingError as error:
            own = self._prefix.decode("utf-8", "surrogateescape")
            error.keys = [key.removeprefix(own) for key in error.keys]
            raise
        return [self._own(key) for key in found] if name == "list_keys" else found

    def _own(self, key: str) -> str:
        full = key.encode("utf-8", "surrogateescape")
        return full[len(self._prefix) :].decode("utf-8", "surrogateescape")

    def _watch(self, key: Any, known_version: int, timeout: Any) -> Coroutine[Any, Any, Any]:
        return self._carry("watch", (key, known_version, timeout), {})

    def _restarts(self) -> int:
        return self._store._restarts()

    async def watch_prefix(
        self, prefix: Any, interval: timedelta | float = 0.5
    ) -> AsyncGenerator[Changed, None]:
        full = self._prefix + bytes_of(prefix, "a prefix")
        async with aclosing(self._store.watch_prefix(full, interval)) as changes:
            async for key, version, value in changes:
                yield self._own(key), version, value

    def set_timeout(self, timeout: timedelta | float) -> None:
        self._store.set_timeout(timeout)

    @property
    def timeout(self) -> timedelta:
        return self._store.timeout

    async def clone(self, timeout: timedelta | float | None = None) -> "PrefixStore":
        return PrefixStore(self._prefix[:-1], await self._store.clone(timeout))

    async def close(self) -> None:
        await self._store.close()

    def __repr__(self) -> str:
        return f"<rendezvous.aio.PrefixStore {quoted(self._prefix[:-1])} over {self._store!r}>"
