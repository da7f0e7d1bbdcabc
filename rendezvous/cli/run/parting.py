"""How a node of `exec` parts from its run: leave, linger while others need it, shut down.

Only the main thread uses it; what may wait for others is called on a thread of its own.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rendezvous._base.errors import RendezvousError
from rendezvous.cli import exits as _exit
from rendezvous.cli.log import logger
from rendezvous.cli.run.signals import OvertimeError, SignalledError, SignalScope
from rendezvous.handler import DynamicRendezvousHandler
from rendezvous.handler.linger import linger

if TYPE_CHECKING:
    from rendezvous._base.api import RendezvousHandler

__all__ = ["Parting"]

# Who was told to end tells the others, and closes what is its own, if that takes no longer.
_PARTING_S = 0.25
_SHUTDOWN_S = 0.1


class Parting:
    """The end of one node's part.

    Args:
        gave_up: how the command ended, with its last line, if that is for good; None: it is not.

    Attributes:
        root_cause: what the job failed by; empty: it did not, or that is not known here.
    """

    def __init__(
        self,
        handler: RendezvousHandler,
        signals: SignalScope,
        linger_s: float,
        gave_up: tuple[int, bytes] | None,
    ) -> None:
        self._handler = handler
        self._signals = signals
        self._linger_s = linger_s
        self._gave_up = gave_up
        self.root_cause = ""

    def in_order(self, code: int, rank: int) -> None:
        """Leave, linger, shut down. A signal ends what it comes in at once.

        rank: of this node in its last round.
        """
        shutdown_s = None
        handler = self._handler
        try:
            if isinstance(handler, DynamicRendezvousHandler):
                what = _needed_by_others(handler, code, rank)
                # Otherwise shutting down leaves as well, and only once waits for a store that is
                # gone.
                if code != 0 or what:
                    self._signals.during(lambda: self._leave(handler, code))
                if what:
                    linger(
                        handler,
                        what,
                        self._linger_s,
                        lambda slice_s: self._signals.during(
                            partial(handler.wait_until_alone, slice_s)
                        ),
                    )
        except RendezvousError as error:
            logger.warning("cannot tell the other nodes that this one leaves: %s", error)
        except SignalledError as stop:
            logger.warning("%s: not waiting for other nodes", _exit.signal_name(stop.signum))
            shutdown_s = _SHUTDOWN_S
        try:
            self._signals.during(handler.shutdown, shutdown_s)
        except (SignalledError, OvertimeError):
            logger.debug("shut down was cut short", exc_info=True)

    def at_once(self, code: int) -> None:
        """As far as it goes in a moment: who was told to end does not wait for others."""
        handler = self._handler
        try:
            if isinstance(handler, DynamicRendezvousHandler):
                self._signals.during(lambda: self._leave(handler, code, _PARTING_S), _PARTING_S)
            self._signals.during(handler.shutdown, _SHUTDOWN_S)
        except (SignalledError, OvertimeError, RendezvousError):
            logger.debug("parting was cut short", exc_info=True)

    def _leave(
        self, handler: DynamicRendezvousHandler, code: int, timeout_s: float | None = None
    ) -> None:
        if self._gave_up is None:
            if timeout_s is None:
                handler.leave(failed=code != 0)
            else:
                handler.cancel(timeout_s, failed=code != 0)
            return
        code, last_line = self._gave_up
        # Also where enough nodes are left to go on.
        is_final = code == _exit.DO_NOT_RESTART
        cause = handler.give_up(code, last_line, do_not_restart=is_final)
        if cause:
            self.root_cause = f"run {handler.get_run_id()!r}: who gave up first: {cause}"
            logger.warning("gave up: %s", cause)


def _needed_by_others(handler: DynamicRendezvousHandler, code: int, rank: int) -> str:
    """What other nodes use of this process, for the log; empty: nothing."""
    if handler.hosts_store:
        return "the store hosted here"
    # After a failure they meet again and have another rank 0.
    if handler.use_agent_store and rank == 0 and code == 0:
        return "the bootstrap store served here"
    return ""
