"""A server of gRPC that answers as a test wants it to. Its HTTP/2 is h2's, which is strict.

One thread serves one connection after the other. What the client may not send ends the connection
and is in `violations`.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from support.background import BACKSTOP_S

__all__ = ["ErrorCodes", "Request", "SettingCodes", "StrictServer"]

OK = [(":status", "200"), ("content-type", "application/grpc")]
_Self = TypeVar("_Self", bound="StrictServer")


@dataclass
class Request:
    """A request that is whole, and what may be done with it. Connections count from 1."""

    connection: int
    stream: int
    headers: dict[str, str]
    body: bytes
    h2: h2.connection.H2Connection

    def begin(self, *messages: bytes) -> None:
        """The beginning of an answer."""
        self.h2.send_headers(self.stream, OK)
        for message in messages:
            framed = b"\0" + len(message).to_bytes(4, "big") + message
            for begin in range(0, len(framed), 16_000):
                self.h2.send_data(self.stream, framed[begin : begin + 16_000], pad_length=7)

    def go_away(self, last_stream: int) -> None:
        """Say so, and do on what has begun. (h2's own way ends with it.)"""
        before = self.h2.state_machine.state
        self.h2.close_connection(last_stream_id=last_stream)
        self.h2.state_machine.state = before

    def answer(self, *messages: bytes, status: int = 0, text: str = "") -> None:
        """A gRPC answer, of messages and a status."""
        if messages:
            self.begin(*messages)
        last = [("grpc-status", str(status)), ("grpc-message", text)]
        self.h2.send_headers(self.stream, last if messages else OK + last, end_stream=True)


class StrictServer:
    """Listens on `port` of 127.0.0.1. In a `with`.

    Args:
        serve: what to do with a request.
        window_bytes: of a stream, before the client may send more.
        begun: what to do with a request of which only the headers have come.
    """

    def __init__(
        self,
        serve: Callable[[Request], None],
        *,
        window_bytes: int = 65_535,
        begun: Callable[[Request], None] | None = None,
    ) -> None:
        self._serve = serve
        self._begun = begun
        self._window_bytes = window_bytes
        self._closing = False
        self._current: socket.socket | None = None
        self.connections = 0
        self.pongs = 0
        # What to do when the client answers a ping.
        self.when_ponged: Callable[[h2.connection.H2Connection], None] = lambda _: None
        # What to do once when a stream's window is opened again; 0 is the connection.
        self.when_widened: dict[int, Callable[[], None]] = {}
        self.violations: list[Exception] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing = True
        for sock in (self._listener, self._current):
            if sock is not None:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(BACKSTOP_S)
        assert not self._thread.is_alive()
        if kind is None:
            assert self.violations == []

    def _accept(self) -> None:
        while not self._closing:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._current = sock
            with sock, suppress(OSError):
                self._talk(sock)

    def _talk(self, sock: socket.socket) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        talk = h2.connection.H2Connection(config)
        talk.initiate_connection()
        talk.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: self._window_bytes})
        requests: dict[int, Request] = {}
        while True:
            sock.sendall(talk.data_to_send())
            data = sock.recv(65_536)
            if not data:
                return
            try:
                events = talk.receive_data(data)
            except h2.exceptions.ProtocolError as error:
                self.violations.append(error)
                return
            for event in events:
                if isinstance(event, h2.events.ConnectionTerminated):
                    return
                self._take(talk, requests, event)
            if talk.state_machine.state is h2.connection.ConnectionState.CLOSED:
                sock.sendall(talk.data_to_send())
                return

    def _take(
        self,
        talk: h2.connection.H2Connection,
        requests: dict[int, Request],
        event: h2.events.Event,
    ) -> None:
        if isinstance(event, h2.events.PingAckReceived):
            self.pongs += 1
            self.when_ponged(talk)
        elif isinstance(event, h2.events.WindowUpdated):
            self.when_widened.pop(event.stream_id or 0, lambda: None)()
        elif isinstance(event, h2.events.RequestReceived):
            assert event.stream_id is not None
            headers = {str(name): str(value) for name, value in event.headers or ()}
            request = Request(self.connections, event.stream_id, headers, b"", talk)
            requests[event.stream_id] = request
            if self._begun is not None:
                self._begun(request)
        elif isinstance(event, h2.events.DataReceived):
            assert event.stream_id is not None
            requests[event.stream_id].body += event.data or b""
            talk.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            assert event.stream_id is not None
            self._serve(requests.pop(event.stream_id))
