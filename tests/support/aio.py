"""asyncio's stores as blocking ones, so that the contract's tests run over them unchanged."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeAlias

import rendezvous.aio
from rendezvous import Store

HAS_UVLOOP = True
try:
    import uvloop
except ImportError:
    HAS_UVLOOP = False


class LoopThread:
    """An event loop that runs in a thread."""

    def __init__(self, kind: str = "asyncio") -> None:
        self.loop = uvloop.new_event_loop() if kind == "uvloop" else asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What it returns or raises; interrupted, it is cancelled."""
        future = asyncio.run_coroutine_threadsafe(_awaited(coroutine), self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def _awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await coroutine


class BlockingFace(Store):
    """A store of asyncio's whose calls block."""

    def __init__(self, thread: LoopThread, store: rendezvous.aio.Store) -> None:
        super().__init__()
        self.thread = thread
        self.store = store

    @classmethod
    def connect(cls, thread: LoopThread, url: str, timeout: float) -> BlockingFace:
        async def made() -> rendezvous.aio.Store:
            return await rendezvous.aio.connect(url, timeout)

        return cls(thread, thread.call(made()))

    def set_timeout(self, timeout: Any) -> None:
        self.store.set_timeout(timeout)

    @property
    def timeout(self) -> timedelta:
        return self.store.timeout

    def clone(self, timeout: Any = None) -> BlockingFace:
        return BlockingFace(self.thread, self.thread.call(self.store.clone(timeout)))

    def close(self) -> None:
        self.thread.call(self.store.close())

    def __repr__(self) -> str:
        return f"<BlockingFace of {self.store!r}>"

    def __reduce__(self) -> Any:
        return self.store.__reduce__()


def _blocking(name: str) -> Any:
    def operation(self: BlockingFace, *args: Any, **options: Any) -> Any:
        return self.thread.call(getattr(self.store, name)(*args, **options))

    operation.__name__ = name
    operation.__signature__ = inspect.signature(getattr(Store, name))  # type: ignore[attr-defined]
    return operation


for _name in rendezvous.aio._operations.OPERATIONS:
    setattr(BlockingFace, _name, _blocking(_name))


def run_on(kind: str, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """As asyncio.run(), on a loop of this kind."""
    if kind == "asyncio":
        return asyncio.run(coroutine)
    loop = uvloop.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(coroutine)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()


LOOPS = ["asyncio", *(["uvloop"] if HAS_UVLOOP else [])]


def others() -> set[asyncio.Task[Any]]:
    """The tasks of this loop but the current one."""
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def turns(count: int = 5) -> None:
    """Let the loop do what is due."""
    for _ in range(count):
        await asyncio.sleep(0)


# run_aio(body, port=the server's, timeout=60): runs body(store) on each kind of loop.
RunAio: TypeAlias = Callable[..., None]


def in_flight(store: rendezvous.aio.TCPStore) -> int:
    connection = store._connections.usable
    return 0 if connection is None else connection.in_flight


async def waiting(store: rendezvous.aio.TCPStore, count: int) -> list[asyncio.Task[Any]]:
    """Tasks that wait for keys, and have told the server."""
    tasks = [asyncio.create_task(store.wait([f"never/{i}"], 3600)) for i in range(count)]
    await asyncio.sleep(0)
    await store.ping()
    assert in_flight(store) == count
    return tasks


async def ended(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in found)
