"""What a launcher and a handler agree on, by their public names."""

from rendezvous._base import api as _api
from rendezvous._base.api import *  # noqa: F403

__all__ = _api.__all__
