"""Opens a store for asyncio by its URL."""

import asyncio
from collections.abc import Generator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from rendezvous._base.arguments import seconds
from rendezvous.aio._operations import Store
from rendezvous.aio._prefix import PrefixStore
from rendezvous.aio._tcp import TCPStore
from rendezvous.aio._threads import open_in_threads
from rendezvous.backends.open_store import tcp_place, url_options

__all__ = ["connect"]

_TIMEOUT_S = 300.0


class _Connecting:
    """What connect() returns. Await it, or enter it with `async with`."""

    def __init__(self, url: str, timeout: float | timedelta | None) -> None:
        self._url = url
        self._timeout = timeout
        self._store: Store | None = None

    def __await__(self) -> Generator[Any, Any, Store]:
        return _open(self._url, self._timeout).__await__()

    async def __aenter__(self) -> Store:
        self._store = await self
        return self._store

    async def __aexit__(self, *_: object) -> None:
        assert self._store is not None
        await self._store.close()


def connect(url: str, timeout: float | timedelta | None = None) -> _Connecting:
    """Open the store that a URL names, for the tasks of the running event loop.

    `async with connect(url) as store` closes the store at the end. After `store = await
    connect(url)`, close it yourself: `await store.close()`. The URLs, the timeout and the errors
    are those of rendezvous.open_store().

    A ``tcp:`` store (with the native protocol) uses a thread only while it connects. All other
    stores run each call in a thread of its own: ``file:``, ``etcd:``, ``hash:``, and ``tcp:`` with
    ``protocol=c10d``. See ThreadStore.
    """
    return _Connecting(url, timeout)


async def _open(url: str, timeout: float | timedelta | None) -> Store:
    parts = urlsplit(url)
    if parts.scheme != "tcp" or "c10d" in parts.query:
        return await open_in_threads(url, timeout)
    options = url_options(url, timeout)
    prefix = options.pop("prefix", "")
    host, port, timeout_s, _, path = tcp_place(url, parts, options)
    store: Store = TCPStore(host, port, _TIMEOUT_S if timeout_s is None else timeout_s)
    assert isinstance(store, TCPStore)
    try:
        await store.open(seconds(store.timeout))
    except BaseException:
        await asyncio.shield(store.close())
        raise
    for each in (path, prefix):
        if each:
            store = PrefixStore(each, store)
    return store
