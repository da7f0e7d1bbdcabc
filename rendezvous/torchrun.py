"""Handlers for torchrun's agents; docs/torchrun.md."""

from rendezvous._torchrun.handler import (
    TorchrunHandler,
    create_handler,
)

__all__ = [
    "TorchrunHandler",
    "create_handler",
]
