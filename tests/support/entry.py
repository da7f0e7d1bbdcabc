"""Whether a server lets somebody in."""

from __future__ import annotations

from typing import Any

from rendezvous import StoreRefusedError, TCPStore
from support.background import BACKSTOP_S


def gets_in(port: int, **credentials: Any) -> bool:
    """A client with these credentials, as TCPStore takes them. False: the server refuses it."""
    try:
        TCPStore("127.0.0.1", port, timeout=BACKSTOP_S, **credentials).close()
    except StoreRefusedError:
        return False
    return True
