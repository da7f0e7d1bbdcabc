"""Handlers by the names of their backends."""

from rendezvous.handler import registry as _registry
from rendezvous.handler.registry import *  # noqa: F403

__all__ = _registry.__all__
