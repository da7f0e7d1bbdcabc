"""How long a handler can be used: by the process that created it, until it is shut down.

Knows nothing of what a handler does. Runs on the handler's caller's thread.
"""

import os

from rendezvous._base.errors import RendezvousStateError

__all__ = ["Lifetime"]


class Lifetime:
    """Of one handler.

    Args:
        name: of the handler, for messages: "run 'x'".

    Attributes:
        shutdown_result: what the handler's shutdown returned; None before it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._pid = os.getpid()
        self.shutdown_result: bool | None = None

    @property
    def is_elsewhere(self) -> bool:
        """Whether this is a forked child, which cannot use the handler."""
        return self._pid != os.getpid()

    @property
    def is_on(self) -> bool:
        return self.shutdown_result is None and not self.is_elsewhere

    def check(self) -> None:
        """Raises RendezvousStateError unless the handler can be used."""
        if self.is_elsewhere:
            raise RendezvousStateError(
                f"{self._name}: this handler belongs to process {self._pid}; a forked child must "
                "create its own"
            )
        if self.shutdown_result is not None:
            raise RendezvousStateError(
                f"{self._name}: this handler was shut down; create a new one"
            )
