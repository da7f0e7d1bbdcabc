"""Ports for an etcd of one's own, which cannot choose: its gateway would not learn of it."""

import random
import socket
from contextlib import suppress

from rendezvous._base.errors import StoreConnectionError

__all__ = ["free_ports"]

# Below the range from which Linux chooses by default. Those that it would choose it chooses for
# others as well, and where few are left, for the next process that asks.
_PORTS = range(12_000, 32_000)
_ATTEMPTS = 1_000


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """This many ports on which nothing listens now. Raises StoreConnectionError."""
    found: list[int] = []
    for _ in range(_ATTEMPTS):
        port = random.choice(_PORTS)  # noqa: S311  (spreads processes)
        with socket.socket() as probe, suppress(OSError):
            # As etcd does: a port is not taken by connections that have ended.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            if port not in found:
                found.append(port)
        if len(found) == count:
            return found
    raise StoreConnectionError(
        f"{host} has no free port for etcd: {_ATTEMPTS} tries from {_PORTS.start} to "
        f"{_PORTS.stop - 1} found none"
    )
