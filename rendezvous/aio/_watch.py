"""What watch() returns: awaited, the next change; gone through, all of them."""

import math
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any

__all__ = ["Watch"]

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
