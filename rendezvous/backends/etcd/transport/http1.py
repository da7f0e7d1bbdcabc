"""One connection to one member's JSON gateway: HTTP/1.1 with the standard library's parser.

Each request is one send, and each read waits until the request's deadline and no longer. Used by
the one thread that made it. Knows nothing of what the bodies mean.
"""

import http.client
import io
import socket
import ssl
from contextlib import suppress
from typing import Any, cast

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd.transport.endpoints import Endpoint
from rendezvous.backends.etcd.transport.errors import TransportError
from rendezvous.backends.etcd.transport.line import Line, ended, lost

__all__ = ["BodyReader", "Connection"]

_CHUNK_BYTES = 65_536
# A quarter more than the JSON form of the largest answer that is of use to anyone.
_LINE_BYTES_MAX = 1024 * 1024 * 1024
_SIZE_BYTES_MAX = 65_536  # of the line that says how long a chunk is


class Connection:
    """Connects at once. Raises TransportError, also from its methods; it is of no use then."""

    def __init__(
        self, endpoint: Endpoint, context: ssl.SSLContext | None, deadline: Deadline
    ) -> None:
        self._endpoint = endpoint
        self._line = Line(endpoint, context, deadline)
        self._reader = _Reader(self._line)

    @property
    def is_usable(self) -> bool:
        """Whether the member has neither closed it nor sent what nobody asked for."""
        return self._line.is_quiet

    def request(
        self, path: str, body: bytes, token: str, deadline: Deadline
    ) -> http.client.HTTPResponse:
        """Send a POST and read the answer's head."""
        self._line.send(self._head(path, len(body), token) + body, deadline)
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
        return BodyReader(self._line, self._reader, response)

    def close(self) -> None:
        self._line.close()

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


class BodyReader:
    """A chunked body that never ends by itself, as bytes that came so far."""

    def __init__(self, line: Line, reader: "_Reader", response: http.client.HTTPResponse) -> None:
        self._line = line
        self._reader = reader
        self._response = response
        self._encoded = bytearray()
        self._chunk_left = 0
        self._buffered = True  # behind the head, the parser may have read a piece of the body

    def read(self, deadline: Deadline) -> bytes | None:
        """The next bytes, at least one; None when the deadline passes first."""
        has_time = True
        while True:
            data = self._decode()
            if data:
                return data
            if not has_time:
                return None
            received = self._receive(deadline)
            if received is None:
                return None
            self._encoded += received
            has_time = not deadline.is_over

    def interrupt(self) -> None:
        """From any thread: reads end at once."""
        self._line.shut_down()

    def close(self) -> None:
        self._response.close()
        self._line.close()

    def _receive(self, deadline: Deadline) -> bytes | None:
        try:
            data = self._buffered_bytes() or self._line.receive_by(_CHUNK_BYTES, deadline)
        except OSError as error:
            raise lost(error) from error
        if data == b"":
            raise TransportError("the member ended the connection", sent=True)
        return data

    def _buffered_bytes(self) -> bytes | None:
        if not self._buffered:
            return None
        self._buffered = False
        self._reader.deadline = Deadline.after(0)
        with suppress(TimeoutError):
            return self._response.fp.read1(_CHUNK_BYTES)
        return None

    def _decode(self) -> bytes:
        encoded = self._encoded
        if not self._response.chunked:
            self._encoded = bytearray()
            return bytes(encoded)
        pieces: list[bytes] = []
        at = 0
        with memoryview(encoded) as view:
            while at < len(encoded):
                if self._chunk_left:
                    piece = bytes(view[at : at + self._chunk_left])
                    pieces.append(piece)
                    at += len(piece)
                    self._chunk_left -= len(piece)
                    continue
                end = encoded.find(b"\r\n", at)
                if end < 0:
                    if len(encoded) - at > _SIZE_BYTES_MAX:
                        raise TransportError(
                            "the member sent something that is not an HTTP chunk", sent=True
                        )
                    break
                if end > at:  # else it is the end of the chunk before
                    self._chunk_left = self._size_of(bytes(view[at:end]))
                at = end + 2
        del encoded[:at]
        return b"".join(pieces)

    def _size_of(self, line: bytes) -> int:
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            size = -1
        if size == 0:
            raise TransportError("the member ended the stream", sent=True)
        if not 0 < size <= _LINE_BYTES_MAX:
            raise TransportError("the member sent something that is not an HTTP chunk", sent=True)
        return size


class _Reader(io.RawIOBase):
    """Reads a line, each time for what is left until the deadline."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.deadline = Deadline.after(0)

    def makefile(self, mode: str) -> io.BufferedReader:
        """For the parser, which takes this for a socket."""
        del mode
        return io.BufferedReader(_KeptOpen(self), _CHUNK_BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # A socket that always has something never looks at the time.
        if self.deadline.is_over:
            raise TimeoutError
        data = self._line.receive(len(buffer), self.deadline)
        buffer[: len(data)] = data
        return len(data)


class _KeptOpen(io.RawIOBase):
    """The parser closes its file after each answer; the connection is for the next one."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._reader.readinto(buffer)


def _lost(error: Exception) -> TransportError:
    if isinstance(error, http.client.RemoteDisconnected):
        return ended()
    if isinstance(error, http.client.HTTPException):
        return TransportError(
            f"its answer is not HTTP ({type(error).__name__}); does it serve the JSON gateway on "
            "this port, and without TLS?",
            sent=True,
        )
    return lost(error)
