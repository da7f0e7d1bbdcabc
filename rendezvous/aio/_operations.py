"""The contract of asyncio's stores: the operations of rendezvous.Store, the one list of them.

What each does is said there. A store of asyncio's carries them out all in one way (`_carry`), or
defines them itself, with the same arguments.
"""

import inspect
from collections.abc import AsyncGenerator, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from rendezvous._stores.store import Store as BlockingStore
from rendezvous.aio._watch import Changed, Watch

__all__ = ["OPERATIONS", "Store"]

_Self = TypeVar("_Self", bound="Store")
# What is no operation: it asks the store itself, or ends it.
_OTHERS = {"clone", "has_extended_api", "set_timeout", "timeout", "close"}
OPERATIONS = tuple(
    name
    for name, found in vars(BlockingStore).items()
    if inspect.isfunction(found) and not name.startswith("_") and name not in _OTHERS
)


class Store:
    """The contract of asyncio's stores.

    Every operation of rendezvous.Store is here, with its name, arguments and errors, as a coroutine
    function: `await store.get(key)`. One store is used by the tasks of one event loop, as many at a
    time as there are. Cancelling a task withdraws what it asked for.

    watch(key) is an asynchronous iterator as well: `async for version, value in store.watch(key)`.
    """

    def _carry(
        self, name: str, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        raise NotImplementedError

    def _watch(self, key: Any, known_version: int, timeout: Any) -> Coroutine[Any, Any, Any]:
        return self._carry("watch", (key, known_version, timeout), {})

    def watch(self, key: Any, known_version: int = 0, timeout: Any = None) -> Watch:
        return Watch(self._watch, key, known_version, timeout, self._restarts)

    def _restarts(self) -> int:
        """How often the server was another one than before, without what that one knew."""
        return 0

    def watch_prefix(
        self, prefix: Any, interval: timedelta | float = 0.5
    ) -> AsyncGenerator[Changed, None]:
        """All keys that begin with `prefix`: (key, version, value) of every change, as it is seen.

        Begins with the keys that are there; the value of a key that was deleted is None. A server
        of ours tells what changes, at once. Other stores are looked at every `interval` (seconds or
        a timedelta), all keys with the prefix. No change is asked for before the last one was
        taken: a slow loop sees fewer of them, always the last of each key. To be ended by its
        aclose(), as of any asynchronous generator.
        """
        raise NotImplementedError

    def has_extended_api(self) -> bool:
        """Whether append, multi_get and multi_set are there."""
        return True

    def set_timeout(self, timeout: timedelta | float) -> None:
        """Set the timeout of calls that name none of their own."""
        raise NotImplementedError

    @property
    def timeout(self) -> timedelta:
        """The timeout of calls that name none of their own."""
        raise NotImplementedError

    async def clone(self, timeout: timedelta | float | None = None) -> "Store":
        """Another user of the same store, which is closed by itself."""
        raise NotImplementedError

    async def close(self) -> None:
        """End the use of the store. Calls that wait end with StoreClosedError; so do later ones."""

    async def __aenter__(self: _Self) -> _Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __reduce__(self) -> Any:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled or copied: it belongs to an event loop of "
            "this process; give the other one what it can connect to"
        )


def _operation(name: str) -> Any:
    signature = inspect.signature(getattr(BlockingStore, name))

    def operation(self: Store, *args: Any, **options: Any) -> Coroutine[Any, Any, Any]:
        signature.bind(self, *args, **options)
        return self._carry(name, args, options)

    operation.__name__ = name
    operation.__qualname__ = f"Store.{name}"
    operation.__doc__ = getattr(BlockingStore, name).__doc__
    operation.__signature__ = signature  # type: ignore[attr-defined]
    return operation


for _name in OPERATIONS:
    if _name not in vars(Store):
        setattr(Store, _name, _operation(_name))
Store.watch.__doc__ = (
    f"{BlockingStore.watch.__doc__}\n\nWhat it returns can be awaited for that; or gone through "
    "with `async for`, which gives (version, value) of every change it sees, beginning with what "
    "is there: (version, None) where the key was deleted. One request at a time is on its way, so "
    "a slow loop sees fewer changes and always the last. Without a timeout it goes on for ever."
)
