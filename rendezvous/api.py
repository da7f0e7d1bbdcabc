"""What a launcher and a handler agree on, by their public names."""

from rendezvous._base.api import (
    KeyValueStore,
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
    parse_rendezvous_endpoint,
)

__all__ = [
    "KeyValueStore",
    "RendezvousHandler",
    "RendezvousInfo",
    "RendezvousParameters",
    "RendezvousStoreInfo",
    "parse_rendezvous_endpoint",
]
