"""Every error that this package raises, by their public names."""

from rendezvous._base import errors as _errors
from rendezvous._base.errors import *  # noqa: F403

__all__ = _errors.__all__
