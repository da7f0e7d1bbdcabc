"""What watch() returns: awaited, the next change; gone through, all of them. And the same of all
keys with a prefix.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Protocol

__all__ = ["Watch", "watch_prefix"]

_Changed = tuple[bytes | None, int]


class Watch(Coroutine[Any, Any, _Changed], AsyncIterator[tuple[int, bytes | None]]):
    """A key that is watched from a version on. A coroutine, and an asynchronous iterator."""

    def __init__(
        self,
        ask: Callable[[Any, int, Any], Coroutine[Any, Any, _Changed]],
        key: Any,
        known_version: int,
        timeout: Any,
    ) -> None:
        self._ask = ask
        self._key = key
        self._known = known_version
        self._timeout = timeout
        self._coroutine: Coroutine[Any, Any, _Changed] | None = None

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> tuple[int, bytes | None]:
        timeout = math.inf if self._timeout is None else self._timeout
        value, self._known = await self._ask(self._key, self._known, timeout)
        return self._known, value

    def __await__(self) -> Generator[Any, Any, _Changed]:
        return self._begun().__await__()

    def send(self, value: Any) -> Any:
        return self._begun().send(value)

    def throw(
        self,
        kind: Any,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
    ) -> Any:
        error: Any = kind if value is None else value
        return self._begun().throw(error() if isinstance(error, type) else error)

    def close(self) -> None:
        if self._coroutine is not None:
            self._coroutine.close()

    def _begun(self) -> Coroutine[Any, Any, _Changed]:
        if self._coroutine is None:
            self._coroutine = self._ask(self._key, self._known, self._timeout)
        return self._coroutine


class _Watched(Protocol):
    def list_keys(self, prefix: Any = "") -> Coroutine[Any, Any, list[str]]: ...
    def watch(self, key: Any, known_version: int = 0, timeout: Any = None) -> Watch: ...


async def watch_prefix(
    store: _Watched, prefix: Any, interval_s: float
) -> AsyncGenerator[tuple[str, int, bytes | None], None]:
    """As Store.watch_prefix."""
    # Whoever has seen a change waits here until it is taken.
    changes: asyncio.Queue[tuple[str, int, bytes | None] | Exception] = asyncio.Queue(1)
    tasks: dict[str, asyncio.Task[None]] = {}

    async def follow(key: str) -> None:
        try:
            async for version, value in store.watch(key):
                await changes.put((key, version, value))
                if value is None:
                    break  # it is found again, should it come back
        except Exception as error:  # noqa: BLE001  (whoever goes through the changes raises it)
            await changes.put(error)
        finally:
            tasks.pop(key, None)

    async def find() -> None:
        try:
            while True:
                for key in await store.list_keys(prefix):
                    if key not in tasks:
                        tasks[key] = asyncio.create_task(follow(key))
                await asyncio.sleep(interval_s)
        except Exception as error:  # noqa: BLE001  (likewise)
            await changes.put(error)

    finder = asyncio.create_task(find())
    try:
        while True:
            change = await changes.get()
            if isinstance(change, Exception):
                raise change
            yield change
    finally:
        left = [finder, *tasks.values()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
