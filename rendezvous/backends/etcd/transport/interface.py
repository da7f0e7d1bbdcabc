"""What carries a request to one member and its answer back: the interface.

A method is named as in etcd's API ("kv/range"), a message is a dictionary (schema.py). A transport
knows one member at a time; retries, members and tokens are the client's.
"""

import ssl
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd.transport.endpoints import Endpoint

__all__ = ["Message", "Stream", "TlsFiles", "Transport"]

Message: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class TlsFiles:
    """Paths of PEM files.

    Args:
        ca_cert: who signs the members' certificates; None: what this machine trusts.
        cert, key: this client's certificate and its private key; None: without one. The key may be
            in the certificate's file.
    """

    ca_cert: str | None = None
    cert: str | None = None
    key: str | None = None

    def context(self) -> ssl.SSLContext:
        """Certificates are checked, host names too. Raises ValueError for files of no use."""
        if self.key and not self.cert:
            raise ValueError("ssl_cert_key is given without ssl_cert; give both, or none")
        try:
            context = ssl.create_default_context(cafile=self.ca_cert)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"ca_cert {self.ca_cert!r} cannot be used: {error}") from error
        if self.cert:
            try:
                context.load_cert_chain(self.cert, self.key)
            except (OSError, ssl.SSLError) as error:
                raise ValueError(
                    f"the certificate {self.cert!r} with the key {self.key or self.cert!r} cannot "
                    f"be used: {error}"
                ) from error
        return context


class Stream(Protocol):
    """Answers that follow each other, on a connection of their own. Belongs to one thread."""

    def next(self, deadline: Deadline) -> Message | None:
        """The next answer; None when the deadline passes first.

        Raises TransportError when it ended, ReplyError when the member ended it with an error.
        """

    def interrupt(self) -> None:
        """From any thread: `next` raises soon, also one that has begun."""

    def close(self) -> None:
        """End it. May be called again."""


class Transport(Protocol):
    """Any thread may call it, also after a fork.

    Attributes:
        stream_bytes_max: what several messages of one stream may have together, as JSON with bytes
            in base64, which is the longer of their forms. A single one may have more.
    """

    @property
    def stream_bytes_max(self) -> int: ...

    def call(
        self, endpoint: Endpoint, method: str, message: Message, token: str, deadline: Deadline
    ) -> Message:
        """One request, one answer. Raises TransportError, or ReplyError."""

    def stream(
        self,
        endpoint: Endpoint,
        method: str,
        messages: list[Message],
        token: str,
        deadline: Deadline,
    ) -> Stream:
        """Send the messages; answers come until the stream is closed. Raises TransportError."""

    def close(self) -> None:
        """Close the calling thread's connections; those of others go with their threads."""
