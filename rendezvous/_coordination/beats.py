"""A node's signs of life, however they are sent: when one is due, and what the log says."""

import logging
import random

from rendezvous._base.patience import Outage
from rendezvous._coordination.coordinator import NodeSetup

__all__ = ["Beats"]

_log = logging.getLogger(__name__)


class Beats:
    """Of one node.

    Args:
        interval_s: within which one must get through.
    """

    def __init__(self, setup: NodeSetup, interval_s: float) -> None:
        self._interval_s = interval_s
        self.outage = Outage(
            _log,
            "run %r: the heartbeat of %s does not get through; it is tried again: %s",
            "run %r: heartbeats of %s get through again",
            setup.run_id,
            setup.node.addr,
        )

    def pause_s(self) -> float:
        """Until the next one. Scattered: the nodes of a round have started together."""
        early, late = (0.15, 0.3) if self.outage.is_on else (0.7, 0.95)
        return self._interval_s * random.uniform(early, late)  # noqa: S311
