"""How often a waiting node polls a state that all nodes share. Pure except for sleeping."""

import random

from rendezvous._base.deadline import Deadline, now_s
from rendezvous._coordination.run_view import RunView

__all__ = ["LOOK_S_MAX", "Pace"]

# The longest pause between two looks of a node that waits.
LOOK_S_MAX = 2.0


class Pace:
    """Pauses between two polls: shorter after a change, longer the more nodes share the store."""

    def __init__(self) -> None:
        self._pause_s = 0.0
        self._before: tuple[object, ...] | None = None

    def sleep(self, view: RunView, look_s: float, deadline: Deadline) -> None:
        """Sleep until the next poll is due. `look_s`: how long the last one took."""
        nodes = view.counts.listed
        seen = (view.role, view.round, view.counts)
        # All nodes together look some 1,000 times a second while things move, 250 when they rest.
        # And a look that took long says that machine, network or server have enough to do.
        longest_s = min(LOOK_S_MAX, max(0.25, nodes / 250))
        shortest_s = min(longest_s, max(0.02, nodes / 1_000, 8 * look_s))
        self._pause_s = min(self._pause_s * 1.5, longest_s) if seen == self._before else shortest_s
        self._before = seen
        pause_s = self._pause_s * random.uniform(0.6, 1.0)  # noqa: S311
        if view.look_again_s is not None:
            # The end of a last call is not slept through. A little scatter, as all nodes know it.
            until_s = view.look_again_s - now_s() + random.uniform(0.0, shortest_s)  # noqa: S311
            pause_s = min(pause_s, max(until_s, shortest_s / 2))
        deadline.sleep(pause_s)
