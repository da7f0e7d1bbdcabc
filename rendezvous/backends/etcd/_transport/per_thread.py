"""Connections that a thread of a process keeps from one call to the next, one for each member.

None is shared: two threads never wait for each other, and a forked process begins without its
parent's, whose answers it would take away.
"""

import os
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from rendezvous.backends.etcd._deadline import Deadline
from rendezvous.backends.etcd._endpoints import Endpoint

__all__ = ["ConnectionsPerThread"]


class _Connection(Protocol):
    @property
    def is_usable(self) -> bool: ...

    def close(self) -> None: ...


_ConnectionT = TypeVar("_ConnectionT", bound=_Connection)


class ConnectionsPerThread(Generic[_ConnectionT]):
    """Any thread may use it, also after a fork.

    Args:
        connect: makes a connection; may raise TransportError.
    """

    def __init__(self, connect: Callable[[Endpoint, Deadline], _ConnectionT]) -> None:
        self._connect = connect
        self._local = threading.local()

    def take(self, endpoint: Endpoint, deadline: Deadline) -> _ConnectionT:
        """The calling thread's connection, for one call; `give_back` it after a whole answer."""
        connection = self._of_this_thread().pop(endpoint, None)
        if connection is not None:
            if connection.is_usable:
                return connection
            # One that the member has closed since would lose the request, and nobody could tell
            # whether before or after it was done.
            connection.close()
        return self._connect(endpoint, deadline)

    def give_back(self, endpoint: Endpoint, connection: _ConnectionT) -> None:
        """For the next call. One on which half an answer is unread is closed instead."""
        self._of_this_thread()[endpoint] = connection

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
