"""The connection of a store: opened when first needed, replaced when it breaks or falls silent.

The core's rules (csrc/client/line_rules.h) say when that is, and which errors callers get. A dial
looks up names and waits, so it runs in a thread; there is one dial at a time, and the callers that
need it wait. Belongs to one event loop.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Callable

from rendezvous import _core
from rendezvous._base.errors import StoreConnectionError
from rendezvous._base.security import Security
from rendezvous.aio import _native

__all__ = ["Line"]

# How often a connection that is suspected is looked at.
_LOOK_S = 0.05
_LAST_LOOK_S = 0.005


class _Dialling:
    """A dial, and the suspected connection that its connection is to replace, if any."""

    def __init__(
        self, dial: _core._Dial, done: "asyncio.Future[None]", suspect: _native.Connection | None
    ) -> None:
        self.dial = dial
        self.done = done
        self.suspect = suspect
        self.failure: Exception | None = None
        self.task: asyncio.Task[None] | None = None


class Line:
    """Knows no operation."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        host: str,
        port: int,
        name: str,
        security: Security,
    ) -> None:
        """name: what messages call the store. security: by what it proves itself."""
        self._loop = loop
        self._place = (host, port)
        self._security = security.of_client
        self._name = name
        self._session_id = os.urandom(16)
        self._session = _native.ClientSession(self._session_id)
        self._calm = _native.CalmTime()
        self._connection: _native.Connection | None = None
        # Attributes, as every call looks at them. The connection, unless it is suspected; it may be
        # broken. And how often the server was another one than before, without what that one knew.
        self.usable: _native.Connection | None = None
        self.restarts = 0
        self._dialling: _Dialling | None = None
        self._is_closed = False
        # Those whose sockets are not closed yet.
        self._leaving: set[_native.Connection] = set()

    @property
    def observed_address(self) -> str:
        return self._session.observed_address

    async def connection(self, left_s: float, known_restarts: int) -> _native.Connection | None:
        """Wait for the connection. None: it is suspected, and nothing was found out in time.

        Raises the errors of the dial, StoreClosedError, and StoreRestartedError for every call that
        began before the server was restarted.
        """
        deadline_s = self._loop.time() + left_s
        earlier: Exception | None = None  # how a dial before this one ended
        while True:
            self._check(known_restarts)
            found = self.usable
            if found is not None and found.is_open:
                return found
            if self._dialling is None:
                self._dialling = self._start(max(left_s, _native.DIAL_MIN_S), None)
            dialling = self._dialling
            left_now_s = deadline_s - self._loop.time()
            if left_now_s > 0:
                await asyncio.wait([dialling.done], timeout=min(left_now_s, threading.TIMEOUT_MAX))
            failure = dialling.failure
            if failure is not None and not dialling.dial.may_work_later:
                raise type(failure)(*failure.args)
            earlier = failure or earlier
            is_made = dialling.done.done() and failure is None
            if is_made or self._is_closed or self._loop.time() < deadline_s:
                continue
            if dialling.suspect is not None:
                return None
            if failure is not None:
                raise type(failure)(*failure.args)
            is_unreached = isinstance(earlier, StoreConnectionError)
            if earlier is not None and is_unreached and not dialling.dial.has_failed:
                raise type(earlier)(*earlier.args)
            dialling.dial.raise_out_of_time(left_s)

    def suspect(self, connection: _native.Connection, silent_s: float) -> None:
        """The connection was silent for this long, although an answer was due."""
        if self._is_closed or self._connection is not connection or self._dialling is not None:
            return
        if not self._calm.is_over() or not connection.is_open:
            return
        connection.probe()
        self.usable = None
        self._dialling = self._start(_native.DIAL_MIN_S, connection, silent_s)

    async def close(self) -> None:
        """Close for good, and wait until the sockets are closed."""
        self._is_closed = True
        dialling = self._dialling
        if self._connection is not None:
            self._connection.shut_down("the store was closed")
        if dialling is not None:
            dialling.dial.cancel()
            if dialling.task is not None:
                await asyncio.wait([dialling.task])
        for connection in list(self._leaving):
            await asyncio.wait([connection.closed])

    def check_open(self) -> None:
        """Raises StoreClosedError."""
        if self._is_closed:
            raise _native.closed(self._name)

    def _check(self, known_restarts: int) -> None:
        self.check_open()
        if known_restarts != self.restarts:
            raise _native.restarted(self._name)

    def _start(
        self, timeout_s: float, suspect: _native.Connection | None, silent_s: float = 0.0
    ) -> _Dialling:
        dial = _core._Dial(*self._place, self._session_id, **self._security)
        dialling = _Dialling(dial, self._loop.create_future(), suspect)
        dialling.task = self._loop.create_task(self._run(dialling, timeout_s, silent_s))
        return dialling

    async def _run(self, dialling: _Dialling, timeout_s: float, silent_s: float) -> None:
        suspect = dialling.suspect
        suspected_at_s = self._loop.time()

        def lives() -> bool:
            ago_s = self._loop.time() - suspected_at_s
            return suspect is not None and suspect.alive_since(ago_s)

        fresh: _native.Connection | None = None
        try:
            fd, heard = await self._dialled(dialling, timeout_s, lives)
            fresh = await self._made(fd, heard, dialling.dial.take_secured())
            end_s = self._loop.time() + _native.SIGN_OF_LIFE_S
            while suspect and not lives() and self._loop.time() < end_s and not self._is_closed:
                await asyncio.sleep(_LAST_LOOK_S)
        except Exception as error:  # noqa: BLE001  (whoever waits for it raises it)
            dialling.failure = error
        finally:
            if suspect is not None and self._settle(dialling, fresh, silent_s, lives()):
                fresh = None
            self._end(dialling, fresh)

    def _settle(
        self,
        dialling: _Dialling,
        fresh: _native.Connection | None,
        silent_s: float,
        is_alive: bool,
    ) -> bool:
        """Whether the suspected connection stays."""
        suspect = dialling.suspect
        self._calm.begin(is_alive)
        if is_alive:
            dialling.failure = None
            if fresh is not None:
                fresh.shut_down("another connection is used")
        elif fresh is not None and suspect is not None:
            suspect.shut_down(_native.replaced(silent_s))
        return is_alive

    def _end(self, dialling: _Dialling, fresh: _native.Connection | None) -> None:
        if fresh is not None and self._is_closed:
            fresh.shut_down("the store was closed")
        elif fresh is not None:
            if self._connection is not None:
                self._session.leave(self._connection)
            self._session.enter(fresh)
            self._connection = fresh
            self.restarts = self._session.restarts
        self.usable = self._connection
        self._dialling = None
        if not dialling.done.done():
            dialling.done.set_result(None)

    async def _dialled(
        self, dialling: _Dialling, timeout_s: float, lives: Callable[[], bool]
    ) -> tuple[int, bytes]:
        """On a thread of its own, which ends by itself."""
        found: asyncio.Future[tuple[int, bytes]] = self._loop.create_future()

        def tell(result: tuple[int, bytes] | BaseException) -> None:
            if found.done():
                _let_go(result)
            elif isinstance(result, BaseException):
                found.set_exception(result)
            else:
                found.set_result(result)

        def run() -> None:
            result: tuple[int, bytes] | BaseException
            try:
                result = dialling.dial.run(timeout_s)
            except Exception as error:  # noqa: BLE001  (the loop's side raises it)
                result = error
            try:
                self._loop.call_soon_threadsafe(tell, result)
            except RuntimeError:  # the loop is closed
                _let_go(result)

        try:
            threading.Thread(target=run, name="rendezvous-dial", daemon=True).start()
        except RuntimeError as error:
            raise _native.no_thread(self._name, str(error)) from None
        try:
            while dialling.suspect is not None and not found.done():
                await asyncio.wait([found], timeout=_LOOK_S)
                if lives():
                    dialling.dial.cancel()
            return await found
        except asyncio.CancelledError:
            dialling.dial.cancel()
            if found.done() and not found.cancelled() and found.exception() is None:
                _let_go(found.result())
            raise

    async def _made(self, fd: int, heard: bytes, secured: object) -> _native.Connection:
        sock = socket.socket(fileno=fd)
        try:
            connection = _native.Connection(
                self._loop, self._session, heard, fd, _core._LentFd(fd), self._on_silent, secured
            )
            await self._loop.create_connection(lambda: connection, sock=sock)
        except BaseException:
            sock.close()
            raise
        self._leaving.add(connection)
        connection.closed.add_done_callback(lambda _: self._leaving.discard(connection))
        return connection

    def _on_silent(self, connection: _native.Connection) -> None:
        self.suspect(connection, _native.SILENCE_MAX_S)


def _let_go(result: tuple[int, bytes] | BaseException) -> None:
    if isinstance(result, tuple):
        os.close(result[0])
