"""The token of a user: requested when first needed, and again when the cluster has forgotten it.

Any thread may use it. No lock is held while a member is asked: two threads that log in at once get
two tokens, and both are good.
"""

import logging
from dataclasses import dataclass, field

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd.transport import Message, Transport
from rendezvous.backends.etcd.transport.endpoints import Endpoint
from rendezvous.backends.etcd.transport.errors import (
    FAILED_PRECONDITION,
    INVALID_ARGUMENT,
    UNAUTHENTICATED,
    ReplyError,
    TransportError,
)

__all__ = ["Credentials", "Login"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Credentials:
    """A user of the cluster. The password is never shown."""

    user: str
    password: str = field(repr=False)


class Login:
    """Sends requests of a user, or of nobody (None)."""

    def __init__(self, transport: Transport, credentials: Credentials | None) -> None:
        self._transport = transport
        self._credentials = credentials
        self._token: str | None = None

    def call(
        self, endpoint: Endpoint, method: str, message: Message, deadline: Deadline
    ) -> Message:
        """As the transport's, with the user's token; logs in again once."""
        token = self._current(endpoint, deadline)
        try:
            return self._transport.call(endpoint, method, message, token, deadline)
        except ReplyError as error:
            if not self.was_forgotten(error, token):
                raise
        token = self._current(endpoint, deadline)
        return self._transport.call(endpoint, method, message, token, deadline)

    def token(self, endpoint: Endpoint, deadline: Deadline) -> str:
        """For a stream."""
        return self._current(endpoint, deadline)

    def was_forgotten(self, error: ReplyError, token: str) -> bool:
        """Whether the cluster knows the token no longer, so that the request may go out again.

        Tokens end when they are not used for some minutes, when the member that gave one is gone,
        and when users change.
        """
        if self._credentials is None or not (
            error.code == UNAUTHENTICATED
            or (error.code == INVALID_ARGUMENT and "user name is empty" in error.text)
            or "revision in header is old" in error.text
            or "revision of auth store is old" in error.text
        ):
            return False
        if self._token == token:
            self._token = None
        return True

    def _current(self, endpoint: Endpoint, deadline: Deadline) -> str:
        if self._credentials is None:
            return ""
        token = self._token
        if token is None:
            token = self._log_in(endpoint, self._credentials, deadline)
            self._token = token
        return token

    def _log_in(self, endpoint: Endpoint, credentials: Credentials, deadline: Deadline) -> str:
        message = {"name": credentials.user, "password": credentials.password}
        try:
            answer = self._transport.call(endpoint, "auth/authenticate", message, "", deadline)
        except ReplyError as error:
            if error.code == FAILED_PRECONDITION and "not enabled" in error.text:
                _log.warning(
                    "etcd at %s does not ask for a password: its authentication is off, and "
                    "anyone who can reach it can change its keys",
                    endpoint,
                )
                return ""
            raise
        except TransportError as error:
            # Whatever was lost, no request of the caller's was in it.
            raise TransportError(error.text, sent=False, fatal=error.fatal) from error
        token = str(answer.get("token", ""))
        if not token.isascii() or not token.isprintable():
            raise TransportError(
                "it returned a token that does not fit in a header", sent=False, fatal=True
            )
        return token
