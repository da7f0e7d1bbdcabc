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

    Methods raise RendezvousConnectionError when the store cannot be reached, and
    RendezvousStateError when the stored value is not a state. They may be called from any thread,
    one call at a time.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The name under which the backend is registered."""

    @abstractmethod
    def get_state(self) -> tuple[bytes, Token] | None:
        """The state and its token; None when there is no state."""

    @abstractmethod
    def set_state(
        self, state: bytes, token: Token | None = None
    ) -> tuple[bytes, Token, bool] | None:
        """Replace the state that has this `token`; without a token, create it if there is none.

        Returns the current state, its token, and whether it is the one to be written. A write that
        lost to another one is not an error: it returns the state that won. None: a token was given,
        but there is no state (any more).
        """

    def set_timeout(self, timeout_s: float) -> None:  # noqa: B027  (optional: what has no timeouts need not have it)
        """Limit the time of each later call, in seconds. Backends that cannot do so ignore it."""
