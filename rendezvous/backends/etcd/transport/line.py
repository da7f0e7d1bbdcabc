"""A connected socket whose every call ends by a deadline. Belongs to the thread that made it.

Owns the descriptor, and what its failures mean. Knows no protocol.
"""

import select
import socket
import ssl
from contextlib import suppress

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd.transport.dial import dial, tls_reason
from rendezvous.backends.etcd.transport.endpoints import Endpoint
from rendezvous.backends.etcd.transport.errors import TransportError

__all__ = ["Line", "ended", "lost"]

# For the rest of a TLS record of which a part has come.
_RECORD_S = 0.02


class Line:
    """Connects at once. Raises TransportError, also from its methods; it is of no use then."""

    def __init__(
        self, endpoint: Endpoint, context: ssl.SSLContext | None, deadline: Deadline
    ) -> None:
        self._sock = dial(endpoint, context, deadline)

    def __del__(self) -> None:
        # Of a thread that has ended, or of the parent of a forked process: only our descriptor.
        if hasattr(self, "_sock"):
            self._sock.close()

    @property
    def is_quiet(self) -> bool:
        """Whether the member has neither closed it nor sent anything that is unread."""
        poller = select.poll()
        try:
            poller.register(self._sock, select.POLLIN | select.POLLHUP | select.POLLERR)
        except ValueError:  # closed
            return False
        return not poller.poll(0)

    def send(self, data: bytes, deadline: Deadline) -> None:
        """All of it. A failure says that the member has not got the end of it."""
        try:
            # Not by sendall(): with TLS, that gives each piece the whole time.
            unsent = memoryview(data)
            while unsent:
                self._sock.settimeout(deadline.socket_s)
                unsent = unsent[self._sock.send(unsent) :]
        except OSError as error:
            raise TransportError(_text(error, "sending"), sent=False) from error

    def receive(self, bytes_max: int, deadline: Deadline) -> bytes:
        """What has come, at least a byte; empty: the member has ended it. OSError as the socket."""
        self._sock.settimeout(deadline.socket_s)
        return self._sock.recv(bytes_max)

    def receive_by(self, bytes_max: int, deadline: Deadline) -> bytes | None:
        """As `receive`; None when the deadline passes first."""
        if not self._has_bytes_within(deadline.left_s):
            return None
        try:
            return self.receive(bytes_max, deadline.at_least(_RECORD_S))
        except TimeoutError:
            return None

    def _has_bytes_within(self, seconds: float) -> bool:
        if isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            return True
        poller = select.poll()
        poller.register(self._sock, select.POLLIN)
        return bool(poller.poll(min(seconds, 86_400.0) * 1000))

    def shut_down(self) -> None:
        """From any thread: reads end. Only the connection: the descriptor stays its owner's."""
        with suppress(OSError):
            # Not SSLSocket's, which would take the session from under a reader.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """May be called again."""
        self._sock.close()


def lost(error: Exception) -> TransportError:
    """What it means that reading an answer failed."""
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        # With TLS 1.3 the refusal of our certificate comes after the handshake, before the request
        # is looked at.
        return TransportError(tls_reason(error), sent=False, fatal=True)
    return TransportError(_text(error, "the request"), sent=True)


def ended() -> TransportError:
    """What it means that a member closes a connection on which it owes an answer."""
    return TransportError(
        "it closed the connection instead of answering; if it speaks TLS, use protocol=https",
        sent=True,
    )


def _text(error: Exception, doing: str) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer to {doing} in time"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error) or type(error).__name__
