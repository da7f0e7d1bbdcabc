"""Connections that a thread of a process keeps from one call to the next, one for each member.

None is shared: two threads never wait for each other, and a forked process begins without its
parent's, whose answers it would take away.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd.transport.endpoints import Endpoint

__all__ = ["ConnectionsPerThread", "Loan"]


class _Connection(Protocol):
    @property
    def is_usable(self) -> bool: ...

    def close(self) -> None: ...


_ConnectionT = TypeVar("_ConnectionT", bound=_Connection)


@dataclass
class Loan(Generic[_ConnectionT]):
    """is_whole: whether the answer was read whole. Otherwise, as when the call was interrupted, the
    connection must not serve another one, and is closed."""

    connection: _ConnectionT
    is_whole: bool = False


class ConnectionsPerThread(Generic[_ConnectionT]):
    """Any thread may use it, also after a fork.

    Args:
        connect: makes a connection; may raise TransportError.
    """

    def __init__(self, connect: Callable[[Endpoint, Deadline], _ConnectionT]) -> None:
        self._connect = connect
        self._local = threading.local()

    @contextmanager
    def borrow(self, endpoint: Endpoint, deadline: Deadline) -> Iterator["Loan[_ConnectionT]"]:
        """The calling thread's connection, for one call. Raises what `connect` raises."""
        loan = Loan(self._take(endpoint, deadline))
        try:
            yield loan
        finally:
            if loan.is_whole:
                self._of_this_thread()[endpoint] = loan.connection
            else:
                loan.connection.close()

    def _take(self, endpoint: Endpoint, deadline: Deadline) -> _ConnectionT:
        connection = self._of_this_thread().pop(endpoint, None)
        if connection is not None:
            if connection.is_usable:
                return connection
            # One that the member has closed since would lose the request, and nobody could tell
            # whether before or after it was done.
            connection.close()
        return self._connect(endpoint, deadline)

    def close(self) -> None:
        """Close the calling thread's; those of others go with their threads."""
        connections = self._of_this_thread()
        while connections:
            connections.popitem()[1].close()

    def _of_this_thread(self) -> dict[Endpoint, _ConnectionT]:
        local = self._local
        if getattr(local, "pid", None) != os.getpid():
            local.pid = os.getpid()
            local.connections = {}
        connections: dict[Endpoint, _ConnectionT] = local.connections
        return connections
