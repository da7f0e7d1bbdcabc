"""Programs that listen on a port and are no store."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

_Self = TypeVar("_Self", bound="FakePeer")


class FakePeer:
    """Accepts connections at `port` and does to each what `behave` does, on a thread.

    A connection that `behave` returns from without closing it stays open and silent.
    """

    def __init__(self, behave: Callable[[socket.socket], None]) -> None:
        self._behave = behave
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                with suppress(OSError):
                    self._behave(connection)

    def close(self) -> None:
        for sock in (self._listener, *self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self._thread.join()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def silent(connection: socket.socket) -> None:
    """Accepts, and says nothing."""


def hangs_up(connection: socket.socket) -> None:
    """Closes at once."""
    connection.close()


def says(answer: bytes, hang_up: bool = False) -> Callable[[socket.socket], None]:
    """Answers the same, whatever it is told."""

    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)
        if hang_up:
            connection.close()

    return behave


def echoes(connection: socket.socket) -> None:
    """Sends back what it is told first."""
    connection.sendall(connection.recv(65536))
