"""The transport over etcd's own API: gRPC.

Source: gRPC over HTTP/2 (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). HTTP/2 is
h2's. Not grpcio: it hangs in a forked child and needs seconds to come back after an outage. Owns
the framing of messages and the meaning of statuses. Retries, members and tokens are the client's.
"""

import struct
from urllib.parse import unquote

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd.transport.endpoints import Endpoint
from rendezvous.backends.etcd.transport.errors import ReplyError, TransportError
from rendezvous.backends.etcd.transport.http2 import Connection, Headers
from rendezvous.backends.etcd.transport.interface import Message, TlsFiles
from rendezvous.backends.etcd.transport.per_thread import ConnectionsPerThread
from rendezvous.backends.etcd.transport.protobuf import MalformedError, decode, encode
from rendezvous.backends.etcd.transport.schema import METHODS, Method, Shape

__all__ = ["GrpcTransport"]

_PREFIX = struct.Struct(">BI")  # whether it is compressed, and its length
# Statuses of HTTP by which a server says that it does not do such requests.
_WRONG_SERVER = {b"404", b"405", b"415"}


class GrpcTransport:
    """Any thread may use it, also after a fork: no connection is shared.

    Args:
        tls: certificates; None: without TLS. Raises ValueError for files of no use.
    """

    # Of several watches on one stream; each is a watcher in the member.
    stream_bytes_max = 16_384

    def __init__(self, tls: TlsFiles | None = None) -> None:
        self._scheme = b"http"
        self._context = None
        if tls is not None:
            self._scheme = b"https"
            self._context = tls.context()
            self._context.set_alpn_protocols(["h2"])
        self._connections = ConnectionsPerThread(self._connect)

    def call(
        self, endpoint: Endpoint, method: str, message: Message, token: str, deadline: Deadline
    ) -> Message:
        """See Transport. The connection stays for the next call of this thread."""
        called = METHODS[method]
        with self._connections.borrow(endpoint, deadline) as loan:
            connection = loan.connection
            headers = self._headers(endpoint, called, token)
            connection.request(headers, _framed(called.request, message), deadline, ends=True)
            while not connection.is_answered:
                if not connection.receive(deadline):
                    raise TransportError("no answer to the request in time", sent=True)
            loan.is_whole = True
            # Read while it is borrowed: a signal handler may call etcd, and would take it.
            _check_status(connection)
            answer = _take_message(called.response, connection)
        if answer is None:
            raise TransportError("it answered without a message", sent=True)
        return answer

    def stream(
        self,
        endpoint: Endpoint,
        method: str,
        messages: list[Message],
        token: str,
        deadline: Deadline,
    ) -> "GrpcStream":
        """See Transport."""
        called = METHODS[method]
        connection = self._connect(endpoint, deadline)
        try:
            body = b"".join(_framed(called.request, message) for message in messages)
            connection.request(self._headers(endpoint, called, token), body, deadline, ends=False)
        except BaseException:
            connection.close()
            raise
        return GrpcStream(connection, called.response)

    def close(self) -> None:
        """See Transport."""
        self._connections.close()

    def _connect(self, endpoint: Endpoint, deadline: Deadline) -> Connection:
        return Connection(endpoint, self._context, deadline)

    def _headers(self, endpoint: Endpoint, method: Method, token: str) -> Headers:
        headers = [
            (b":method", b"POST"),
            (b":scheme", self._scheme),
            (b":path", method.path.encode()),
            (b":authority", str(endpoint).encode()),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            # A member without a leader says so at once instead of letting a watch wait for what it
            # cannot hear of.
            (b"hasleader", b"true"),
        ]
        return [*headers, (b"token", token.encode())] if token else headers


class GrpcStream:
    """Answers of a stream, as they come."""

    def __init__(self, connection: Connection, shape: Shape) -> None:
        self._connection = connection
        self._shape = shape

    def next(self, deadline: Deadline) -> Message | None:
        """See Stream."""
        connection = self._connection
        has_time = True
        while True:
            message = _take_message(self._shape, connection)
            if message is not None:
                return message
            if connection.is_answered:
                _check_status(connection)
                raise TransportError("the member ended the stream", sent=True)
            if not has_time:
                return None
            has_time = connection.receive(deadline)

    def interrupt(self) -> None:
        """See Stream."""
        self._connection.interrupt()

    def close(self) -> None:
        """See Stream."""
        self._connection.close()


def _framed(shape: Shape, message: Message) -> bytes:
    data = encode(shape, message)
    return _PREFIX.pack(0, len(data)) + data


def _take_message(shape: Shape, connection: Connection) -> Message | None:
    """The first message that is whole; None if there is none yet."""
    data = connection.data
    if len(data) < _PREFIX.size:
        return None
    compressed, size = _PREFIX.unpack_from(data)
    if compressed:
        raise TransportError(
            "it sent a compressed message, which this client did not allow", sent=True
        )
    end = _PREFIX.size + size
    if len(data) < end:
        return None
    message = bytes(memoryview(data)[_PREFIX.size : end])
    del data[:end]
    try:
        return decode(shape, message)
    except MalformedError as error:
        raise TransportError(f"its message is malformed: {error}", sent=True) from error


def _check_status(connection: Connection) -> None:
    """Raises unless the answer, which is whole, is a success."""
    first = dict(connection.headers[0]) if connection.headers else {}
    status = first.get(b":status", b"")
    kind = first.get(b"content-type", b"")
    if status != b"200" or not kind.startswith(b"application/grpc"):
        shown = f"it answered {status.decode('ascii', 'replace') or 'without a status'}, not gRPC"
        is_wrong = status in _WRONG_SERVER or status.startswith(b"3")
        if is_wrong or status == b"200":
            raise TransportError(
                f"{shown}; is it etcd's port for clients?", sent=not is_wrong, fatal=True
            )
        # Of a proxy, which may have lost the member's answer.
        raise TransportError(shown, sent=True)
    last = dict(connection.headers[-1])
    try:
        code = int(last[b"grpc-status"])
    except (KeyError, ValueError):
        raise TransportError("it answered without a gRPC status", sent=True) from None
    if code:
        text = unquote(last.get(b"grpc-message", b"").decode("utf-8", "replace"))
        raise ReplyError(code, text)
