"""A fixed group, without a rendezvous; see docs/api.md."""

from rendezvous.backends.static import (
    STATIC_SETTINGS,
    StaticRendezvousHandler,
    create_handler,
)

__all__ = [
    "STATIC_SETTINGS",
    "StaticRendezvousHandler",
    "create_handler",
]
