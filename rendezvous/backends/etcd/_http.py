"""One connection to one member's JSON gateway: HTTP/1.1 with the standard library's parser.

Each request is one send, and each read waits until the request's deadline and no longer. Used by
the one thread that made it. Knows nothing of what the bodies mean.
"""

import http.client
import io
import select
import socket
import ssl
from contextlib import suppress
from typing import Any, cast

from rendezvous.backends.etcd._deadline import Deadline
from rendezvous.backends.etcd._dial import dial, tls_reason
from rendezvous.backends.etcd._endpoints import Endpoint
from rendezvous.backends.etcd._errors import TransportError

__all__ = ["BodyReader", "Connection"]

_CHUNK_BYTES = 65_536
# A quarter more than the JSON form of the largest answer that is of use to anyone.
_LINE_BYTES_MAX = 1024 * 1024 * 1024


class Connection:
    """Connects at once. Raises TransportError, also from its methods; it is of no use then."""

    def __init__(
        self, endpoint: Endpoint, context: ssl.SSLContext | None, deadline: Deadline
    ) -> None:
        self._endpoint = endpoint
        self._sock = dial(endpoint, context, deadline)
        self._reader = _Reader(self._sock)

    def __del__(self) -> None:
        # Of a thread that has ended, or of the parent of a forked process: only our descriptor.
        if hasattr(self, "_sock"):
            self._sock.close()

    @property
    def is_usable(self) -> bool:
        """Whether the member has neither closed it nor sent what nobody asked for."""
        poller = select.poll()
        try:
            poller.register(self._sock, select.POLLIN | select.POLLHUP | select.POLLERR)
        except ValueError:  # closed
            return False
        return not poller.poll(0)

    def request(
        self, path: str, body: bytes, token: str, deadline: Deadline
    ) -> http.client.HTTPResponse:
        """Send a POST and read the answer's head."""
        self._send(self._head(path, len(body), token) + body, deadline)
        self._reader.deadline = deadline
        response = http.client.HTTPResponse(cast(socket.socket, self._reader), method="POST")
        try:
            response.begin()
        except (OSError, http.client.HTTPException) as error:
            response.close()
            raise _lost(error) from error
        return response

    def read(self, response: http.client.HTTPResponse) -> bytes:
        """The whole body; the connection can then be used again unless `response.will_close`."""
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            raise _lost(error) from error

    def body_reader(self, response: http.client.HTTPResponse) -> "BodyReader":
        """The body as it comes."""
        return BodyReader(self, self._reader, response)

    def has_bytes_within(self, seconds: float) -> bool:
        """Wait for bytes that a read would not have to wait for."""
        if isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            return True
        poller = select.poll()
        poller.register(self._sock, select.POLLIN)
        return bool(poller.poll(min(seconds, 86_400.0) * 1000))

    def shut_down(self) -> None:
        """Only the connection: the descriptor stays its owner's."""
        with suppress(OSError):
            # Not SSLSocket's, which would take the session from under a reader.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        self._sock.close()

    def _head(self, path: str, length: int, token: str) -> bytes:
        lines = [
            f"POST {path} HTTP/1.1",
            f"Host: {self._endpoint}",
            "Content-Type: application/json",
            # The gateway hands it on as gRPC metadata: a member without a leader says so at once
            # instead of letting a watch wait for what it cannot hear of.
            "Grpc-Metadata-hasleader: true",
            f"Content-Length: {length}",
        ]
        if token:
            lines.append(f"Authorization: {token}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _send(self, data: bytes, deadline: Deadline) -> None:
        try:
            self._sock.settimeout(max(deadline.left_s, 0.001))
            self._sock.sendall(data)
        except OSError as error:
            # The member has not got the end of the request, so that it cannot do it.
            raise TransportError(_text(error, "sending"), sent=False) from error


class BodyReader:
    """A chunked body that never ends by itself, as bytes that came so far."""

    def __init__(
        self, connection: Connection, reader: "_Reader", response: http.client.HTTPResponse
    ) -> None:
        self._connection = connection
        self._reader = reader
        self._response = response
        self._encoded = b""
        self._chunk_left = 0
        self._buffered = True  # behind the head, the parser may have read a piece of the body

    def read(self, deadline: Deadline) -> bytes | None:
        """The next bytes, at least one; None when the deadline passes first."""
        while True:
            data = self._decode()
            if data:
                return data
            if not self._buffered and not self._connection.has_bytes_within(deadline.left_s):
                return None
            self._buffered = False
            self._encoded += self._receive()

    def interrupt(self) -> None:
        """From any thread: reads end at once."""
        self._connection.shut_down()

    def close(self) -> None:
        self._response.close()
        self._connection.close()

    def _receive(self) -> bytes:
        # There are bytes: what is waited for is the rest of a TLS record, at most.
        self._reader.deadline = Deadline(1.0)
        try:
            data = self._response.fp.read1(_CHUNK_BYTES)
        except TimeoutError:
            return b""
        except OSError as error:
            raise _lost(error) from error
        if not data:
            raise TransportError("the member ended the connection", sent=True)
        return data

    def _decode(self) -> bytes:
        if not self._response.chunked:
            data, self._encoded = self._encoded, b""
            return data
        data = b""
        while self._encoded:
            if self._chunk_left == 0:
                line, newline, rest = self._encoded.partition(b"\r\n")
                if not newline:
                    break
                self._encoded = rest
                if not line:
                    continue  # the end of the chunk before
                self._chunk_left = self._size_of(line)
                continue
            piece = self._encoded[: self._chunk_left]
            self._encoded = self._encoded[len(piece) :]
            self._chunk_left -= len(piece)
            data += piece
        return data

    def _size_of(self, line: bytes) -> int:
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            size = -1
        if size == 0:
            raise TransportError("the member ended the stream", sent=True)
        if not 0 < size <= _LINE_BYTES_MAX:
            raise TransportError("the member sent no HTTP chunk", sent=True)
        return size


class _Reader(io.RawIOBase):
    """Reads a socket, each time for what is left until the deadline."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.deadline = Deadline(0)

    def makefile(self, mode: str) -> io.BufferedReader:
        """For the parser, which takes this for a socket."""
        del mode
        return io.BufferedReader(_KeptOpen(self), _CHUNK_BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(max(self.deadline.left_s, 0.001))
        return self._sock.recv_into(buffer)


class _KeptOpen(io.RawIOBase):
    """The parser closes its file after each answer; the connection is for the next one."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._reader.readinto(buffer)


def _text(error: Exception, doing: str) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer to {doing} in time"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error) or type(error).__name__


def _lost(error: Exception) -> TransportError:
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        # With TLS 1.3 the refusal of our certificate comes after the handshake, before the request
        # is looked at.
        return TransportError(tls_reason(error), sent=False, fatal=True)
    if isinstance(error, http.client.RemoteDisconnected):
        return TransportError(
            "it closed the connection instead of an answer; if it speaks TLS, say protocol=https",
            sent=True,
        )
    if isinstance(error, http.client.HTTPException):
        return TransportError(
            f"it answered with no HTTP ({type(error).__name__}); does it serve the JSON gateway on "
            "this port, and without TLS?",
            sent=True,
        )
    return TransportError(_text(error, "the request"), sent=True)
