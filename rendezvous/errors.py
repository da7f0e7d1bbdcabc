"""Every error that this package raises, by their public names."""

from rendezvous._base import errors as _errors
from rendezvous._base.errors import *  # noqa: F403  (all of them, and nothing else)

__all__ = _errors.__all__
