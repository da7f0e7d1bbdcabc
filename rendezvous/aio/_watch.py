"""What watch() returns, and watch_prefix().

`await` of a watch gives the next change; `async for` gives every change that is seen.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, TypeAlias

__all__ = ["Changed", "Watch", "looked_at_prefix", "told_prefix"]

_Changed = tuple[bytes | None, int]
# Which no value has: whatever is there is another one.
_NO_VERSION = 2**63 - 1


class Watch(Coroutine[Any, Any, _Changed], AsyncIterator[tuple[int, bytes | None]]):
    """A watched key, from a version on.

    As a coroutine, it gives the next change: (value, version). As an asynchronous iterator, it
    gives every change that is seen, in the other order: (version, value).
    """

    def __init__(
        self,
        ask: Callable[[Any, int, Any], Coroutine[Any, Any, _Changed]],
        key: Any,
        known_version: int,
        timeout: Any,
        restarts: Callable[[], int],
    ) -> None:
        """restarts: how often the server was restarted; older versions mean nothing now."""
        self._restarts = restarts
        self._known_of = restarts()
        self._ask = ask
        self._key = key
        self._known = known_version
        self._timeout = timeout
        self._coroutine: Coroutine[Any, Any, _Changed] | None = None

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> tuple[int, bytes | None]:
        timeout = math.inf if self._timeout is None else self._timeout
        if self._known_of != (known_of := self._restarts()):
            self._known_of, self._known = known_of, _NO_VERSION
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


# Key, version, value; None: the key was deleted.
Changed: TypeAlias = tuple[str, int, bytes | None]
# An answer to WATCH_PREFIX (docs/protocol.md): the position up to which all changes are known;
# whether a list of all keys begins; the cursor where the list goes on, empty if it does not; and
# the changes, or a part of the list.
Told: TypeAlias = tuple[int, bool, bytes, list[Changed]]


async def told_prefix(
    ask: Callable[[Any, int, bytes, Any], Coroutine[Any, Any, Told]],
    prefix: Any,
    restarts: Callable[[], int],
) -> AsyncGenerator[Changed, None]:
    """Changes under a prefix, from a server that reports them. One request is sent at a time.

    restarts: as for Watch. A request during which it changes raises an error.
    """
    known: dict[str, int] = {}
    listed: set[str] | None = None
    position, cursor = 0, b""
    known_of = restarts()
    while True:
        if known_of != (now_of := restarts()):
            known_of, known = now_of, dict.fromkeys(known, _NO_VERSION)
        position, begins, cursor, items = await ask(prefix, position, cursor, math.inf)
        if begins:
            listed = set()
        for key, version, value in items:
            if listed is not None:
                listed.add(key)
            if value is None:
                if known.pop(key, None) is not None:
                    yield key, 0, None
            elif known.get(key) != version:
                known[key] = version
                yield key, version, value
        if listed is not None and not cursor:
            for key in [each for each in known if each not in listed]:
                del known[key]
                yield key, 0, None
            listed = None


async def looked_at_prefix(
    look: Callable[[dict[str, int]], Coroutine[Any, Any, list[Changed]]], interval_s: float
) -> AsyncGenerator[Changed, None]:
    """Changes under a prefix in any other store, by reading its keys every `interval_s`."""
    known: dict[str, int] = {}
    while True:
        for key, version, value in await look(known):
            if value is None:
                known.pop(key, None)
            else:
                known[key] = version
            yield key, version, value
        await asyncio.sleep(interval_s)
