"""Opens a store for asyncio by its URL."""

import asyncio
from collections.abc import Generator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from rendezvous._base.arguments import seconds
from rendezvous._base.security import Security, TlsFile, Token
from rendezvous.aio._operations import Store
from rendezvous.aio._prefix import PrefixStore
from rendezvous.aio._tcp import TCPStore
from rendezvous.aio._threads import open_in_threads
from rendezvous.backends.open_store import SERVER_SCHEMES, server_place, url_options

__all__ = ["connect"]

_TIMEOUT_S = 300.0


class _Connecting:
    """What connect() returns. Await it, or enter it with `async with`."""

    def __init__(self, url: str, timeout: float | timedelta | None, security: Security) -> None:
        self._url = url
        self._timeout = timeout
        self._security = security
        self._store: Store | None = None

    def __await__(self) -> Generator[Any, Any, Store]:
        return _open(self._url, self._timeout, self._security).__await__()

    async def __aenter__(self) -> Store:
        self._store = await self
        return self._store

    async def __aexit__(self, *_: object) -> None:
        assert self._store is not None
        await self._store.close()


def connect(
    url: str,
    timeout: float | timedelta | None = None,
    *,
    token: Token | None = None,
    tls_cert: TlsFile | None = None,
    tls_key: TlsFile | None = None,
    tls_ca: TlsFile | None = None,
    tls_name: str | None = None,
) -> _Connecting:
    """Open the store that a URL names, for the tasks of the running event loop.

    `async with connect(url) as store` closes the store at the end. After `store = await
    connect(url)`, close it yourself: `await store.close()`. The URLs, the other arguments and
    the errors are those of rendezvous.open_store().

    A ``tcp:``, ``tcps:`` or ``unix:`` store (with the native protocol) uses a thread only
    while it connects. All other stores run each call in a thread of its own: ``file:``, ``etcd:``,
    ``hash:``, and ``tcp:`` with ``protocol=c10d``. See ThreadStore.
    """
    return _Connecting(url, timeout, Security(token, tls_cert, tls_key, tls_ca, tls_name))


async def _open(url: str, timeout: float | timedelta | None, said: Security) -> Store:
    parts = urlsplit(url)
    if parts.scheme not in SERVER_SCHEMES or "c10d" in parts.query:
        return await open_in_threads(url, timeout, said)
    options = url_options(url, timeout)
    prefix = options.pop("prefix", "")
    place = server_place(url, parts, options, said)
    timeout_s = _TIMEOUT_S if place.timeout_s is None else place.timeout_s
    store: Store = TCPStore(place.host, place.port, timeout_s, place.security)
    assert isinstance(store, TCPStore)
    try:
        await store.open(seconds(store.timeout))
    except BaseException:
        await asyncio.shield(store.close())
        raise
    for each in (place.prefix, prefix):
        if each:
            store = PrefixStore(each, store)
    return store
