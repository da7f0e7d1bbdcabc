"""The contract of asyncio's stores: the operations of rendezvous.Store, the one list of them.

rendezvous.Store documents them. A store for asyncio runs all of them in one way (`_carry`), or
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
    function: `await store.get(key)`. All tasks of one event loop may use a store at the same time.
    Cancelling a task withdraws its request.

    watch(key) is also an asynchronous iterator: `async for version, value in store.watch(key)`.
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
        """How often the server was restarted and lost its data."""
        return 0

    def watch_prefix(
        self, prefix: Any, interval: timedelta | float = 0.5
    ) -> AsyncGenerator[Changed, None]:
        """All keys that begin with `prefix`: (key, version, value) of every change, as it is seen.

        Begins with the existing keys; the value of a deleted key is None. A rendezvous server
        reports changes at once. From other stores, all keys with the prefix are read every
        `interval` (seconds or a timedelta). The next change is requested only after the last one
        was taken: a slow loop sees fewer changes, but always the last one of each key. End it with
        its aclose(), like any asynchronous generator.
        """
        raise NotImplementedError

    def has_extended_api(self) -> bool:
        """Whether append, multi_get and multi_set are supported."""
        return True

    def set_timeout(self, timeout: timedelta | float) -> None:
        """Set the default timeout of calls."""
        raise NotImplementedError

    @property
    def timeout(self) -> timedelta:
        """The default timeout of calls."""
        raise NotImplementedError

    async def clone(self, timeout: timedelta | float | None = None) -> "Store":
        """A second object for the same store, closed separately."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the store. Waiting and later calls raise StoreClosedError."""

    async def __aenter__(self: _Self) -> _Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __reduce__(self) -> Any:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled or copied: it belongs to an event loop "
            "of this process; connect to the store in the other process"
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
    f"{BlockingStore.watch.__doc__}\n\nAwait the result for one change, or use it with `async "
    "for`, which gives (version, value) of every change that it sees, beginning with the current "
    "value: (version, None) where the key was deleted. Only one request is sent at a time, so a "
    "slow loop sees fewer changes, but always the last one. Without a timeout it never ends."
)
