"""A node's heartbeats, however they are sent: when one is due, and what is logged."""

import logging
import random

from rendezvous._base.patience import Outage
from rendezvous._coordination.coordinator import NodeSetup

__all__ = ["Beats"]

_log = logging.getLogger(__name__)


class Beats:
    """Of one node.

    Args:
        interval_s: one must arrive within this time.
    """

    def __init__(self, setup: NodeSetup, interval_s: float) -> None:
        self._interval_s = interval_s
        self.outage = Outage(
            _log,
            "run %r: the heartbeat of %s failed; retrying: %s",
            "run %r: heartbeats of %s arrive again",
            setup.run_id,
            setup.node.addr,
        )

    def pause_s(self) -> float:
        """Until the next one, with jitter: the nodes of a round started at the same time."""
        early, late = (0.15, 0.3) if self.outage.is_on else (0.7, 0.95)
        return self._interval_s * random.uniform(early, late)  # noqa: S311
