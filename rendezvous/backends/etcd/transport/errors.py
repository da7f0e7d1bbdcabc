"""What etcd can answer instead of an answer: the store's errors, with what a caller must know more.

Owns the numbers of gRPC's status codes that matter here. Imports no transport.
"""

from typing import Final

from rendezvous._base.errors import (
    StoreConnectionError,
    StoreError,
    StoreLimitError,
    StoreNoAnswerError,
)

__all__ = [
    "COMPACTED",
    "FAILED_PRECONDITION",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
    "EtcdConnectionError",
    "EtcdLimitError",
    "EtcdRequestError",
    "EtcdTimeoutError",
    "ReplyError",
    "TransportError",
]

INVALID_ARGUMENT: Final = 3
NOT_FOUND: Final = 5
PERMISSION_DENIED: Final = 7
RESOURCE_EXHAUSTED: Final = 8
FAILED_PRECONDITION: Final = 9
COMPACTED: Final = 11  # gRPC calls it OUT_OF_RANGE; etcd has no other use for it in what we call
UNAVAILABLE: Final = 14
UNAUTHENTICATED: Final = 16

# Unknown, cancelled, deadline exceeded, aborted, internal, unavailable: the member could not say
# how it ended. "etcdserver: request timed out" is one of them, and such a write may yet be applied.
_UNDECIDED = frozenset({1, 2, 4, 10, 13, UNAVAILABLE})
# Said before anything was proposed to the cluster.
_REFUSED_TEXTS = ("too many requests", "no leader", "not capable", "client connection is closing")


class EtcdConnectionError(StoreConnectionError):
    """No member could be asked, or the answer was lost.

    Attributes:
        ambiguous: whether a write may have been applied, or be applied yet. False: it was not.
    """

    def __init__(self, message: str, *, ambiguous: bool = False) -> None:
        super().__init__(message)
        self.ambiguous = ambiguous


class EtcdTimeoutError(StoreNoAnswerError):
    """No member answered within the deadline. `ambiguous` as in EtcdConnectionError."""

    def __init__(self, message: str, *, ambiguous: bool = False) -> None:
        super().__init__(message)
        self.ambiguous = ambiguous


class EtcdRequestError(StoreError):
    """etcd refused the request; nothing was changed.

    Attributes:
        code: gRPC's status code, for example 7 for a permission that the user lacks.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class EtcdLimitError(EtcdRequestError, StoreLimitError):
    """The request is larger than etcd's limits allow; nothing was changed."""


class ReplyError(Exception):
    """A member answered with an error. Does not leave the client."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @property
    def is_transient(self) -> bool:
        """Whether another attempt, or another member, may do better."""
        return self.code in _UNDECIDED or self._refused

    @property
    def is_ambiguous(self) -> bool:
        """Whether the request may have been done, or be done yet."""
        return self.code in _UNDECIDED and not self._refused

    @property
    def _refused(self) -> bool:
        return any(text in self.text for text in _REFUSED_TEXTS)


class TransportError(Exception):
    """No whole answer came from a member. Does not leave the client.

    Attributes:
        sent: whether the member may have got the whole request.
        fatal: whether every further attempt would end the same way, as what is there is no etcd.
    """

    def __init__(self, text: str, *, sent: bool, fatal: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.sent = sent
        self.fatal = fatal
