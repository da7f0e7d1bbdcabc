"""Handlers by the names of their backends."""

from rendezvous.handler.registry import (
    RendezvousHandlerCreator,
    RendezvousHandlerRegistry,
    create_c10d_handler,
    create_etcd_handler,
    create_static_handler,
    get_rendezvous_handler,
    rendezvous_handler_registry,
)

__all__ = [
    "RendezvousHandlerCreator",
    "RendezvousHandlerRegistry",
    "create_c10d_handler",
    "create_etcd_handler",
    "create_static_handler",
    "get_rendezvous_handler",
    "rendezvous_handler_registry",
]
