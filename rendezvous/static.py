"""A fixed group, without a rendezvous; see docs/api.md."""

from rendezvous.backends import static as _static
from rendezvous.backends.static import *  # noqa: F403

__all__ = _static.__all__
