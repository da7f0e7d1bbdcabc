"""The contract of a rendezvous backend: one value a run, replaced with a fencing token.

A backend knows neither the rulebook nor what the state's bytes mean. tests/contract holds every
backend to it.
"""

from abc import ABC, abstractmethod
from typing import TypeAlias

__all__ = ["RendezvousBackend", "Token"]

# Changes with every write; only the backend that made it can read it.
Token: TypeAlias = object


class RendezvousBackend(ABC):
    """One run's state in some store, changed by compare-and-set.

    Methods raise RendezvousConnectionError when the store cannot be asked and RendezvousStateError
    when what is stored is no state at all. They may be called from any thread, one call at a time.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The name under which the backend is registered."""

    @abstractmethod
    def get_state(self) -> tuple[bytes, Token] | None:
        """The state and its token; None when there is none yet, or no longer."""

    @abstractmethod
    def set_state(
        self, state: bytes, token: Token | None = None
    ) -> tuple[bytes, Token, bool] | None:
        """Replace the state that `token` was read with; without one, create it if there is none.

        Returns the state that is there now, its token, and whether it is the one that was to be
        written. A write that lost is no error: it answers with what won. None: a token was given,
        and there is no state (any more).
        """

    def set_timeout(self, timeout_s: float) -> None:  # noqa: B027  (optional: what has no timeouts need not have it)
        """Bound each later call, in seconds. Backends that cannot do so ignore it."""
