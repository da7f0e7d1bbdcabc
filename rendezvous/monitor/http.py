"""A small HTTP/1.1 server: GET and HEAD, one request a connection, a thread each, and not many.

Python's http.server parses requests; this bounds what they may cost: connections, bytes and time
until a request is whole, time until an answer is taken. Knows nothing of what it serves. Its own
threads run it.
"""

from __future__ import annotations

import io
import ipaddress
import logging
import selectors
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, TypeAlias

from rendezvous._base.deadline import Deadline
from rendezvous._base.endpoint import format_endpoint
from rendezvous._base.errors import StoreConnectionError
from rendezvous._base.threads import Background, Event, start_thread
from rendezvous.monitor.listening import Address, listen
from rendezvous.monitor.seldom import Seldom

__all__ = ["Answer", "Endless", "HttpServer", "Request"]

_log = logging.getLogger(__name__)

CONNECTIONS_MAX = 64
# Beside them, those that were told to go, until their threads have noticed.
_LEAVING_MAX = 16
_HEAD_BYTES_MAX = 16 * 1024
# Of a request that is refused unread: how much of the rest is taken, and for how long.
_REST_BYTES_MAX = 256 * 1024
_REST_S = 1.0
# Until a request is there, TLS included; and for each part of an answer to be taken.
_REQUEST_S = 10.0
_TAKEN_S = 10.0
# After a failure of accept(), of which the next one would be the same.
_PAUSE_S = 0.1
_END_S = 5.0


@dataclass(frozen=True)
class Request:
    """Of one client.

    Attributes:
        path: with its query, as it was sent.
        headers: by lower-case names; of several, the first.
    """

    path: str
    headers: Mapping[str, str]
    peer: str


def host_of(address: str) -> str:
    """Whose connections count as one host's: an address, or of IPv6 its network (/64)."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))


@dataclass
class _Guest:
    """An open connection."""

    host: str
    may_go: bool = True  # it has not asked for anything, and was not told to go


# Writes an answer's body until it returns; is told by which function, and when the server ends.
Endless: TypeAlias = Callable[[Callable[[bytes], None], Event], None]


@dataclass(frozen=True)
class Answer:
    """What one request gets.

    Attributes:
        body: whole, or what writes it as long as it likes.
    """

    body: bytes | Endless
    kind: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpServer:
    """Listens from the start on, and answers between `start` and `close`.

    Args:
        addresses: of addresses_of; port 0: a free one, the same for all.
        answer: what a request gets; called by many threads at once.
        context: of TLS, asked for each connection; None: without.

    Raises StoreAddressInUseError, StoreConnectionError.
    """

    def __init__(
        self,
        name: str,
        addresses: list[Address],
        answer: Callable[[Request], Answer],
        context: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        self.name = name
        self.answer = answer
        self.context = context
        self.ends = Event()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._open: dict[socket.socket, _Guest] = {}  # the oldest first
        self._troubles = Seldom(_log)
        self._listeners = listen(name, addresses)
        self.port: int = self._listeners[0].getsockname()[1]
        self._waker, self._wake = socket.socketpair()
        self._thread = Background("rendezvous-monitor-http", self._accept_all)

    def _end_listening(self) -> None:
        for listener in self._listeners:
            listener.close()

    def start(self) -> None:
        """Raises StoreConnectionError when the system refuses a thread."""
        self._thread.start()

    @property
    def is_elsewhere(self) -> bool:
        """Whether this is a forked child of the process that serves."""
        return self._thread.is_elsewhere

    def close(self) -> None:
        """Ends all connections. Waits for the threads, some seconds at most.

        In a forked child: gives up its copy of the port, and nothing that the parent uses.
        """
        if self.is_elsewhere:
            self._end_listening()
            return
        self.ends.set()
        self._thread.ask_to_stop()
        with suppress(OSError):
            self._wake.send(b"x")
        deadline = Deadline.after(_END_S)
        self._thread.stop(deadline)
        self._end_listening()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    # Its thread, which may be in the middle of TLS, notices.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, deadline.left_s)
        self._waker.close()
        self._wake.close()

    def _accept_all(self, stop: Event) -> None:
        with selectors.DefaultSelector() as selector:
            for each in (*self._listeners, self._waker):
                selector.register(each, selectors.EVENT_READ)
            while not stop.is_set():
                for key, _ in selector.select():
                    if key.fileobj is not self._waker:
                        self._accept(key.fileobj, stop)  # type: ignore[arg-type]

    def _accept(self, listener: socket.socket, stop: Event) -> None:
        try:
            connection, peer = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            self._troubles.warning("HTTP at %s: cannot accept a connection: %s", self.name, error)
            stop.wait(_PAUSE_S)
            return
        with self._lock:
            has_room = self._make_room()
            if has_room:
                self._open[connection] = _Guest(host_of(str(peer[0])))
        if not has_room:
            self._turn_away(connection)
            return
        try:
            start_thread(
                threading.Thread(
                    target=self._serve,
                    args=(connection, format_endpoint(str(peer[0]), peer[1])),
                    name="rendezvous-monitor-request",
                    daemon=True,
                )
            )
        except StoreConnectionError as error:
            self._troubles.warning("HTTP at %s: %s", self.name, error)
            self._forget(connection)
            self._turn_away(connection)

    def _make_room(self) -> bool:
        """Where there is none, of those that say nothing, the oldest of the host with most goes."""
        if len(self._open) < CONNECTIONS_MAX:
            return True
        silent = [(each, guest) for each, guest in self._open.items() if guest.may_go]
        if not silent or len(self._open) >= CONNECTIONS_MAX + _LEAVING_MAX:
            return False
        of_host = Counter(guest.host for guest in self._open.values())
        connection, guest = max(silent, key=lambda pair: of_host[pair[1].host])
        guest.may_go = False
        with suppress(OSError):
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
        return True

    def _turn_away(self, connection: socket.socket) -> None:
        """Nobody waits for this one: what it does not take at once, it does not get."""
        with connection, suppress(OSError):
            if self.context is None:
                connection.setblocking(False)
                connection.send(
                    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
                    b"Retry-After: 1\r\nContent-Length: 0\r\n\r\n"
                )

    def _replace(self, plain: socket.socket, secured: socket.socket) -> None:
        with self._lock:
            self._open[secured] = self._open.pop(plain)

    def _keep(self, connection: socket.socket) -> None:
        """It has asked for something."""
        with self._lock:
            self._open[connection].may_go = False

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.pop(connection, None)
            self._changed.notify_all()

    def _serve(self, plain: socket.socket, peer: str) -> None:
        connection: socket.socket | ssl.SSLSocket = plain
        try:
            connection.settimeout(_REQUEST_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context is not None:
                # Takes the descriptor over.
                connection = secured = self.context().wrap_socket(
                    plain, server_side=True, do_handshake_on_connect=False
                )
                self._replace(plain, secured)
                secured.do_handshake()
            head = _read_head(connection, Deadline.after(_REQUEST_S))
            connection.settimeout(_TAKEN_S)
            if len(head) > _HEAD_BYTES_MAX:
                # Nothing that could be answered: it makes room for others as who says nothing does.
                _refuse_unread(connection)
            elif head:
                self._keep(connection)
                _Handler(connection, head, peer, self)
        except OSError as error:  # of the client: gone, or too slow; ssl.SSLError, too
            _log.debug("HTTP at %s: the connection of %s ended: %s", self.name, peer, error)
        except Exception:  # noqa: BLE001  (one request; the others go on)
            _log.exception("HTTP at %s: a request of %s failed", self.name, peer)
        finally:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
            self._forget(connection)


def _read_head(connection: socket.socket, deadline: Deadline) -> bytes:
    """A request's line and headers; more than the bound: too much; empty: the client is gone."""
    head = b""
    while b"\r\n\r\n" not in head:
        connection.settimeout(max(deadline.left_s, 0.001))
        part = connection.recv(4096)
        if not part:
            return b""
        head += part
        if len(head) > _HEAD_BYTES_MAX:
            break
    return head


def _refuse_unread(connection: socket.socket) -> None:
    connection.sendall(
        b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    # Closed with something unread, the system would reset it, and the answer might be lost.
    connection.shutdown(socket.SHUT_WR)
    deadline, left = Deadline.after(_REST_S), _REST_BYTES_MAX
    while left > 0:
        connection.settimeout(max(deadline.left_s, 0.001))
        part = connection.recv(65536)
        if not part:
            return
        left -= len(part)


class _Handler(BaseHTTPRequestHandler):
    """One request, which is there as a whole."""

    protocol_version = "HTTP/1.1"
    server_version = "rendezvous"
    sys_version = ""

    def __init__(
        self, connection: socket.socket, head: bytes, peer: str, server: HttpServer
    ) -> None:
        self.connection = connection
        self.rfile = io.BufferedReader(io.BytesIO(head))
        self.client_address = (peer, 0)
        self._http = server
        self._parts: list[bytes] = []
        self.wfile = self  # type: ignore[assignment]
        self.close_connection = True
        self.raw_requestline = self.rfile.readline(_HEAD_BYTES_MAX)
        if self.parse_request():
            self._go_on(peer)
        self.flush()

    def write(self, part: bytes) -> None:
        """What BaseHTTPRequestHandler has to send; it leaves in one piece."""
        self._parts.append(part)

    def flush(self) -> None:
        """Sends it."""
        parts, self._parts = b"".join(self._parts), []
        if parts:
            self.connection.sendall(parts)

    def log_message(self, format: str, *args: Any) -> None:
        # What a client sent is in it.
        _log.debug("HTTP at %s: %s: %r", self._http.name, self.client_address[0], format % args)

    def _go_on(self, peer: str) -> None:
        if self.command not in {"GET", "HEAD"}:
            self._send(Answer(b"only GET and HEAD\n", status=405, headers={"Allow": "GET, HEAD"}))
            return
        if len(self.headers.get_all("host", [])) > 1:
            self._send(Answer(b"a request has one Host\n", status=400))
            return
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            headers.setdefault(name.lower(), value)
        try:
            answer = self._http.answer(Request(self.path, headers, peer))
        except Exception:  # noqa: BLE001  (one request; the others go on)
            _log.exception("HTTP at %s: a request of %s failed", self._http.name, peer)
            answer = Answer(b"this request failed; the log says why\n", status=500)
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        if isinstance(answer.body, bytes):
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if isinstance(answer.body, bytes):
            self.write(answer.body)
            return
        self.flush()
        answer.body(self.connection.sendall, self._http.ends)
