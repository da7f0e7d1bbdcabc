"""The transport over etcd's JSON gateway (`/v3/...`), which every etcd since 3.4 has.

For where only HTTP/1.1 gets through. Owns what a gateway's answers look like. Retries, members and
tokens are the client's.
"""

import http.client
import json
from typing import Any

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd.transport.endpoints import Endpoint
from rendezvous.backends.etcd.transport.errors import ReplyError, TransportError
from rendezvous.backends.etcd.transport.http1 import BodyReader, Connection
from rendezvous.backends.etcd.transport.interface import Message, TlsFiles
from rendezvous.backends.etcd.transport.json_mapping import from_json, to_json
from rendezvous.backends.etcd.transport.per_thread import ConnectionsPerThread
from rendezvous.backends.etcd.transport.schema import METHODS, Method, Shape

__all__ = ["GatewayTransport"]

_SHOWN_BYTES = 120


class GatewayTransport:
    """Any thread may use it, also after a fork: no connection is shared.

    Args:
        tls: certificates; None: without TLS. Raises ValueError for files of no use.
    """

    # The gateway's HTTP server throws away what it has not read of a request when the answer
    # begins, which the first of several watches makes it do. It reads so many bytes at once.
    stream_bytes_max = 512

    def __init__(self, tls: TlsFiles | None = None) -> None:
        self._context = tls.context() if tls else None
        self._connections = ConnectionsPerThread(self._connect)

    def call(
        self, endpoint: Endpoint, method: str, message: Message, token: str, deadline: Deadline
    ) -> Message:
        """See Transport. The connection stays for the next call of this thread."""
        called = METHODS[method]
        with self._connections.borrow(endpoint, deadline) as loan:
            body = _encode(called.request, message)
            response = loan.connection.request(f"/v3/{method}", body, token, deadline)
            body = loan.connection.read(response)
            loan.is_whole = not response.will_close
        return _answer(called, response.status, body)

    def stream(
        self,
        endpoint: Endpoint,
        method: str,
        messages: list[Message],
        token: str,
        deadline: Deadline,
    ) -> "GatewayStream":
        """See Transport."""
        called = METHODS[method]
        connection = self._connect(endpoint, deadline)
        try:
            body = b"\n".join(_encode(called.request, message) for message in messages)
            response = connection.request(f"/v3/{method}", body, token, deadline)
            if response.status != http.HTTPStatus.OK:
                _answer(called, response.status, connection.read(response))
        except BaseException:
            connection.close()
            raise
        return GatewayStream(connection.body_reader(response), called.response)

    def close(self) -> None:
        """See Transport."""
        self._connections.close()

    def _connect(self, endpoint: Endpoint, deadline: Deadline) -> Connection:
        return Connection(endpoint, self._context, deadline)


class GatewayStream:
    """Answers of a stream: one JSON object a line, each with `result` or `error`."""

    def __init__(self, body: BodyReader, shape: Shape) -> None:
        self._body = body
        self._shape = shape
        self._unread = bytearray()
        self._searched = 0  # so many bytes of it have no end of a line

    def next(self, deadline: Deadline) -> Message | None:
        """See Stream."""
        has_time = True
        while True:
            line = self._take_line()
            if line is not None:
                if not line:
                    continue
                return _message(self._shape, _result(_decode(line, http.HTTPStatus.OK)))
            data = self._body.read(deadline) if has_time else None
            if data is None:
                return None
            has_time = not deadline.is_over
            self._unread += data

    def _take_line(self) -> bytes | None:
        """The first one that is whole. No byte is looked at twice, however long a line is."""
        end = self._unread.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._unread)
            return None
        line = bytes(memoryview(self._unread)[:end]).strip()
        del self._unread[: end + 1]
        self._searched = 0
        return line

    def interrupt(self) -> None:
        """See Stream."""
        self._body.interrupt()

    def close(self) -> None:
        """See Stream."""
        self._body.close()


def _encode(shape: Shape, message: Message) -> bytes:
    return json.dumps(to_json(shape, message), separators=(",", ":")).encode()


def _decode(body: bytes, status: int) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    shown = body[:_SHOWN_BYTES].decode("utf-8", "backslashreplace").strip()
    if status == http.HTTPStatus.NOT_FOUND:
        raise TransportError(
            "it has no JSON gateway here (404): its --enable-grpc-gateway is off, or "
            "--listen-client-http-urls moved it to another port, or it is older than etcd 3.4; "
            "transport=grpc needs none (pip install 'rendezvous-store[etcd]')",
            sent=False,
            fatal=True,
        )
    if "HTTPS server" in shown:
        raise TransportError(
            "it speaks TLS; use protocol=https, or write https:// before the endpoint",
            sent=False,
            fatal=True,
        )
    if "CommonName" in shown:
        raise TransportError(
            "its gateway rejects client certificates with a common name, which would name the "
            "user; use transport=grpc (pip install 'rendezvous-store[etcd]'), or a certificate "
            "without a common name",
            sent=False,
            fatal=True,
        )
    raise TransportError(f"it answered {status}, not JSON: {shown!r}", sent=True)


def _answer(method: Method, status: int, body: bytes) -> Message:
    found = _decode(body, status)
    # The HTTP status says less than the code in the body, and sometimes something else.
    if "code" in found and ("error" in found or "message" in found):
        raise ReplyError(int(found["code"]), str(found.get("message") or found.get("error")))
    if status != http.HTTPStatus.OK:
        raise TransportError(f"it answered {status}: {body[:_SHOWN_BYTES]!r}", sent=True)
    return _message(method.response, _result(found) if method.answers_stream else found)


def _result(found: dict[str, Any]) -> dict[str, Any]:
    """Of one answer of a stream."""
    error = found.get("error")
    if isinstance(error, dict):
        raise ReplyError(
            int(error.get("grpc_code") or error.get("code") or 2),
            str(error.get("message", error)),
        )
    if error is not None:
        raise ReplyError(int(found.get("code", 2)), str(found.get("message", error)))
    result: dict[str, Any] = found.get("result", {})
    return result


def _message(shape: Shape, found: dict[str, Any]) -> Message:
    try:
        return from_json(shape, found)
    except ValueError as error:
        raise TransportError(f"its message is malformed: {error}", sent=True) from error
