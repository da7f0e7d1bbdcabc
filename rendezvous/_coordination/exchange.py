"""One node's requests to the keeper of its run: each ends in time, and raises errors of a
rendezvous.

Knows no keeper. Runs on the caller's thread.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousStateError,
    StoreError,
    StoreLimitError,
)
from rendezvous._base.patience import patiently
from rendezvous._coordination.coordinator import NodeSetup

__all__ = ["EXCHANGE_S_MIN", "Exchange", "told"]

_T = TypeVar("_T")
# What a request gets even at its deadline: enough for a keeper that is well, within the promise of
# 100 ms.
EXCHANGE_S_MIN = 0.05
_LEAVE_ATTEMPT_S = 0.5


@contextmanager
def told(run_id: str) -> Iterator[None]:
    """Turns errors of a store into errors of a rendezvous."""
    run = f"run {run_id!r}: "
    try:
        yield
    except StoreLimitError as error:
        # More than it takes: trying again changes nothing.
        raise RendezvousStateError(f"{run}{error}") from error
    except StoreError as error:
        raise RendezvousConnectionError(f"{run}{error}") from error
    except (RendezvousClosedError, RendezvousStateError) as error:
        text = str(error)
        raise type(error)(text if text.startswith("run ") else run + text) from error


class Exchange:
    """For one node. The function that it calls gets its own deadline, and raises StoreErrors."""

    def __init__(self, setup: NodeSetup) -> None:
        self._run_id = setup.run_id
        self._exchange_s = setup.exchange_s
        self._is_gone = setup.store_is_gone

    def ask(
        self, call: Callable[[Deadline], _T], deadline: Deadline, attempt_s: float | None = None
    ) -> _T:
        """Try once, for as long as an exchange may take. Raises RendezvousErrors."""
        at_most_s = self._exchange_s
        if attempt_s is not None:
            at_most_s = min(attempt_s, at_most_s)
        in_time = deadline.at_least(EXCHANGE_S_MIN).sooner(at_most_s)
        with told(self._run_id):
            return call(in_time)

    def patiently(self, call: Callable[[Deadline], _T], deadline: Deadline) -> _T:
        """Retry while the keeper cannot be reached; a refusal is raised at once."""
        return patiently(lambda: self.ask(call, deadline), deadline)

    def last(self, call: Callable[[Deadline], _T], deadline: Deadline) -> _T:
        """Like `patiently`; but if the run's store is gone, there is nothing to tell."""
        # Short: a store that is gone is asked for first, and then looked for.
        return patiently(
            lambda: self.ask(call, deadline, _LEAVE_ATTEMPT_S), deadline, self._is_gone
        )
