"""asyncio's store on a server, over the native protocol."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

from rendezvous._base.arguments import FOREVER_S, bytes_of, seconds
from rendezvous._base.endpoint import format_endpoint
from rendezvous._base.security import Security
from rendezvous._stores.store import Store as BlockingStore
from rendezvous.aio import _native
from rendezvous.aio._line import Line
from rendezvous.aio._operations import OPERATIONS, Store
from rendezvous.aio._watch import Changed, told_prefix

__all__ = ["TCPStore"]


class TCPStore(_native.NativeOperations, Store):
    """A store on a server, for the tasks of one event loop.

    All tasks share one connection, on which many requests are in flight at once. If it breaks or
    falls silent, a new one replaces it: reads are then repeated, writes only if none of their bytes
    had been sent. Connecting uses a thread; everything else runs in the event loop.

    rendezvous.aio.connect() makes it.
    """

    def __init__(
        self, host: str, port: int, timeout_s: float, security: Security | None = None
    ) -> None:
        """Create it in the event loop that will use it, then await open()."""
        self._place = (host, port)
        self._security = security or Security()
        loop = asyncio.get_running_loop()
        name = f"TCPStore {format_endpoint(host, port)}"
        self._connections = Line(loop, host, port, name, self._security)
        super().__init__(self._connections, loop, name, timeout_s)

    async def open(self, timeout_s: float) -> None:
        """Connect now, so that the caller knows that there is a store."""
        await self._connections.connection(
            timeout_s if timeout_s > 0 else _native.ANSWER_GRACE_S, self._connections.restarts
        )

    @property
    def host(self) -> str:
        """The host as given."""
        return self._place[0]

    @property
    def port(self) -> int:
        """The server's port."""
        return self._place[1]

    @property
    def observed_address(self) -> str:
        """The numeric address of this machine, as the server sees it."""
        return self._connections.observed_address

    @property
    def timeout(self) -> timedelta:
        """The default timeout of calls."""
        return timedelta(seconds=min(self._default_timeout_s, FOREVER_S))

    def watch_prefix(
        self, prefix: Any, interval: timedelta | float = 0.5
    ) -> AsyncGenerator[Changed, None]:
        seconds(interval, "an interval")  # of no use here, and wrong everywhere alike
        return told_prefix(self._watch_prefix, bytes_of(prefix, "a prefix"), self._restarts)

    def _restarts(self) -> int:
        return self._connections.restarts

    async def clone(self, timeout: timedelta | float | None = None) -> "TCPStore":
        """Another store on the same server, with its own connection and timeout."""
        self._connections.check_open()
        made = TCPStore(*self._place, self._default_timeout_s, self._security)
        await made.open(self._default_timeout_s if timeout is None else seconds(timeout))
        return made

    async def close(self) -> None:
        """Close the connection, and wait until it is closed. Later calls raise StoreClosedError."""
        await self._connections.close()

    def __repr__(self) -> str:
        return f"<rendezvous.aio.TCPStore {format_endpoint(*self._place)}>"


# Documented once, where they are of the blocking store.
for _name in OPERATIONS:
    if _name in vars(_native.NativeOperations):
        vars(_native.NativeOperations)[_name].__doc__ = getattr(BlockingStore, _name).__doc__
