"""asyncio's stores that are blocking ones in threads."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from typing import Any, TypeVar

from rendezvous._base.arguments import seconds
from rendezvous._base.errors import StoreClosedError, StoreTimeoutError
from rendezvous._base.security import Security
from rendezvous._base.threads import start_thread
from rendezvous._stores.store import Store as BlockingStore
from rendezvous.aio._operations import Store
from rendezvous.aio._watch import Changed, looked_at_prefix
from rendezvous.backends.open_store import open_store

__all__ = ["ThreadStore", "in_thread", "open_in_threads"]

_T = TypeVar("_T")


class ThreadStore(Store):
    """A blocking store (of a file, in etcd, in memory) for the tasks of one event loop.

    Each call runs in its own thread, so do not use it for thousands of waits. A thread cannot be
    cancelled: the thread of a cancelled call goes on until the call's timeout or until the store is
    closed, and the operation may still be applied.
    """

    def __init__(self, store: BlockingStore) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._is_closed = False

    async def _carry(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        return await self._in_thread(lambda: getattr(self._store, name)(*args, **options))

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        if self._is_closed:
            raise StoreClosedError(f"{self._store!r} was closed; create a new store")
        return await in_thread(call)

    def watch_prefix(
        self, prefix: Any, interval: timedelta | float = 0.5
    ) -> AsyncGenerator[Changed, None]:
        async def look(known: dict[str, int]) -> list[Changed]:
            found = dict(known)
            return await self._in_thread(lambda: _changed(self._store, prefix, found))

        return looked_at_prefix(look, seconds(interval, "an interval"))

    def set_timeout(self, timeout: timedelta | float) -> None:
        self._store.set_timeout(timeout)

    @property
    def timeout(self) -> timedelta:
        return self._store.timeout

    async def clone(self, timeout: timedelta | float | None = None) -> "ThreadStore":
        return ThreadStore(await in_thread(lambda: self._store.clone(timeout)))

    async def close(self) -> None:
        self._is_closed = True
        await in_thread(self._store.close)

    def __repr__(self) -> str:
        return f"<rendezvous.aio.ThreadStore of {self._store!r}>"


def _changed(store: BlockingStore, prefix: Any, known: dict[str, int]) -> list[Changed]:
    """The keys with this prefix that differ from what is known."""
    changes: list[Changed] = []
    keys = store.list_keys(prefix)
    for key in sorted(known.keys() - set(keys)):
        changes.append((key, 0, None))
    for key in keys:
        try:
            value, version = store.watch(key, known.get(key, 0), 0)
        except StoreTimeoutError:
            continue
        if value is not None or key in known:
            changes.append((key, version, value))
    return changes


async def open_in_threads(
    url: str, timeout: float | timedelta | None, said: Security
) -> ThreadStore:
    return ThreadStore(await in_thread(lambda: open_store(url, timeout, **said.of_client)))


async def in_thread(call: Callable[[], _T]) -> _T:
    """Run in a separate thread, which ends by itself if no task waits any longer."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def tell(result: Any, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)

    def run() -> None:
        result: Any = None
        failure: BaseException | None = None
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001  (the loop's side raises it)
            failure = error
        try:
            loop.call_soon_threadsafe(tell, result, failure)
        except RuntimeError:
            return  # the loop is closed

    start_thread(threading.Thread(target=run, name="rendezvous-call", daemon=True))
    return await done
