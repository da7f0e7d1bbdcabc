"""The transport over etcd's JSON gateway (`/v3/...`), which every etcd since 3.4 has.

Owns connections, one for each thread and process, and what a gateway's answers look like. Retries,
members and tokens are the client's.
"""

import http.client
import json
import os
import ssl
import threading

from rendezvous.backends.etcd._deadline import Deadline
from rendezvous.backends.etcd._endpoints import Endpoint
from rendezvous.backends.etcd._errors import ReplyError, TransportError
from rendezvous.backends.etcd._http import BodyReader, Connection
from rendezvous.backends.etcd._transport import Message

__all__ = ["GatewayTransport"]

_SHOWN_BYTES = 120


class GatewayTransport:
    """Any thread may use it, also after a fork: no connection is shared.

    Args:
        context: for TLS; None: without.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._local = threading.local()

    def call(
        self, endpoint: Endpoint, method: str, message: Message, token: str, deadline: Deadline
    ) -> Message:
        """See Transport. The connection stays for the next call of this thread."""
        connection = self._connection(endpoint, deadline)
        kept = False
        try:
            response = connection.request(f"/v3/{method}", _encode(message), token, deadline)
            body = connection.read(response)
            kept = not response.will_close
        finally:
            # Interrupted, or with half an answer unread, it must not serve another request.
            if not kept:
                self._forget(endpoint)
        return _answer(response.status, body)

    def stream(
        self,
        endpoint: Endpoint,
        method: str,
        messages: list[Message],
        token: str,
        deadline: Deadline,
    ) -> "GatewayStream":
        """See Transport."""
        connection = Connection(endpoint, self._context, deadline)
        try:
            body = b"\n".join(_encode(message) for message in messages)
            response = connection.request(f"/v3/{method}", body, token, deadline)
            if response.status != http.HTTPStatus.OK:
                _answer(response.status, connection.read(response))
        except BaseException:
            connection.close()
            raise
        return GatewayStream(connection.body_reader(response))

    def close(self) -> None:
        """See Transport."""
        for endpoint in list(self._connections()):
            self._forget(endpoint)

    def _connections(self) -> dict[Endpoint, Connection]:
        """This thread's; a child process starts without the parent's."""
        local = self._local
        if getattr(local, "pid", None) != os.getpid():
            local.pid = os.getpid()
            local.connections = {}
        connections: dict[Endpoint, Connection] = local.connections
        return connections

    def _connection(self, endpoint: Endpoint, deadline: Deadline) -> Connection:
        connections = self._connections()
        connection = connections.get(endpoint)
        if connection is not None and connection.is_usable:
            return connection
        # One that the member has closed since would lose the request, and nobody could tell
        # whether before or after it was done.
        self._forget(endpoint)
        connection = Connection(endpoint, self._context, deadline)
        connections[endpoint] = connection
        return connection

    def _forget(self, endpoint: Endpoint) -> None:
        connection = self._connections().pop(endpoint, None)
        if connection is not None:
            connection.close()


class GatewayStream:
    """Answers of a stream: one JSON object a line, each with `result` or `error`."""

    def __init__(self, body: BodyReader) -> None:
        self._body = body
        self._lines: list[bytes] = []
        self._rest = b""

    def next(self, deadline: Deadline) -> Message | None:
        """See Stream."""
        while True:
            while self._lines:
                line = self._lines.pop(0).strip()
                if line:
                    return self._answer(line)
            data = self._body.read(deadline)
            if data is None:
                return None
            *self._lines, self._rest = (self._rest + data).split(b"\n")

    def interrupt(self) -> None:
        """See Stream."""
        self._body.interrupt()

    def close(self) -> None:
        """See Stream."""
        self._body.close()

    def _answer(self, line: bytes) -> Message:
        message = _decode(line, 200)
        error = message.get("error")
        if isinstance(error, dict):
            raise ReplyError(
                int(error.get("grpc_code") or error.get("code") or 2),
                str(error.get("message", error)),
            )
        if error is not None:
            raise ReplyError(int(message.get("code", 2)), str(message.get("message", error)))
        result: Message = message.get("result", {})
        return result


def _encode(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _decode(body: bytes, status: int) -> Message:
    try:
        message = json.loads(body)
    except ValueError:
        message = None
    if isinstance(message, dict):
        return message
    shown = body[:_SHOWN_BYTES].decode("utf-8", "backslashreplace").strip()
    if status == http.HTTPStatus.NOT_FOUND:
        raise TransportError(
            "it has no JSON gateway here (404): its --enable-grpc-gateway is off, or "
            "--listen-client-http-urls moved it to another port, or it is older than etcd 3.4",
            sent=False,
            fatal=True,
        )
    if "HTTPS server" in shown:
        raise TransportError(
            "it speaks TLS; say protocol=https, or write https:// before the endpoint",
            sent=False,
            fatal=True,
        )
    raise TransportError(f"it answered {status} and no JSON: {shown!r}", sent=True)


def _answer(status: int, body: bytes) -> Message:
    # The HTTP status says less than the code in the body, and sometimes something else.
    message = _decode(body, status)
    if "code" in message and ("error" in message or "message" in message):
        raise ReplyError(int(message["code"]), str(message.get("message") or message.get("error")))
    if status != http.HTTPStatus.OK:
        raise TransportError(f"it answered {status}: {body[:_SHOWN_BYTES]!r}", sent=True)
    return message
