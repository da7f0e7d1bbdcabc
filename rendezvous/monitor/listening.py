"""The sockets of an HTTP server: one for each address of a name, all at the same port."""

from __future__ import annotations

import errno
import socket
from typing import Any, TypeAlias

from rendezvous._base.endpoint import format_endpoint
from rendezvous._base.errors import StoreAddressInUseError, StoreConnectionError

__all__ = ["Address", "addresses_of", "listen"]

# An address family that this machine's system does not have, whatever the name service says.
_NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
_BACKLOG = 128

Address: TypeAlias = tuple[int, tuple[Any, ...]]


def addresses_of(host: str, port: int) -> list[Address]:
    """Where to listen for this name. Raises StoreConnectionError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise StoreConnectionError(
            f"cannot serve HTTP at {format_endpoint(host, port)}: the name {host!r} has no "
            f"address: {error}"
        ) from error
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))


def listen(name: str, addresses: list[Address]) -> list[socket.socket]:
    """Listen at all of them; those of a family that is not here are left out.

    Raises StoreAddressInUseError, StoreConnectionError; then it listens nowhere.
    """
    listeners: list[socket.socket] = []
    port, failure = 0, None
    for family, address in addresses:
        try:
            listener = _listener(family, (address[0], address[1] or port, *address[2:]))
        except OSError as error:
            failure = error
            if error.errno not in _NOT_HERE:
                break
        else:
            listeners.append(listener)
            port = listener.getsockname()[1]
    if failure is None or (listeners and failure.errno in _NOT_HERE):
        return listeners
    for each in listeners:
        each.close()
    kind, advice = StoreConnectionError, ""
    if failure.errno == errno.EADDRINUSE:
        kind, advice = StoreAddressInUseError, "; give another port"
    raise kind(f"cannot serve HTTP at {name}: {failure}{advice}") from failure


def _listener(family: int, address: tuple[Any, ...]) -> socket.socket:
    """Raises OSError."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
