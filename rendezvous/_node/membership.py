"""A node's place in the group, from the first join to the end.

Owns whether this node may be listed. The coordinator knows the consequences. Called from the
handler's caller's thread.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from rendezvous import _core
from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import RendezvousError
from rendezvous._base.patience import Backoff
from rendezvous._coordination.coordinator import Coordinator, Ending

__all__ = ["Membership"]

_log = logging.getLogger(__name__)

# For telling the others, when the caller was interrupted and waits.
_INTERRUPTED_S = 0.25

_T = TypeVar("_T")


class Membership:
    """One node's place in one run.

    Args:
        coordinator: runs in the background while the node may be listed.
        withdraw_s: time limit for telling the others that a join has failed.
    """

    def __init__(
        self, coordinator: Coordinator, node: _core.Node, run_id: str, withdraw_s: float
    ) -> None:
        self._coordinator = coordinator
        self._node = node
        self._run_id = run_id
        self._withdraw_s = withdraw_s
        self.may_be_listed = False
        self._may_wait = True
        self._has_failed = False
        # A join was interrupted: whoever did so waits for nothing any more.
        self.is_interrupted = False
        # As of the last look.
        self.others = 0
        self._others_wait = False
        # When those that waited have learned that it is over.
        self._dismissed: Deadline | None = None

    @property
    def run_id(self) -> str:
        """Of the run that the node is a member of."""
        return self._run_id

    def enter(self) -> None:
        """From now on the node may be listed, and sends heartbeats."""
        self.may_be_listed = True
        self._may_wait = True
        self._has_failed = False
        self.is_interrupted = False
        self._coordinator.start()

    def leave(self, failed: bool, deadline: Deadline) -> None:
        """Give up the place. Raises RendezvousError if the others cannot be told in time.

        After such a failure, the next call tries once, without waiting: the node has waited
        already.
        """
        self._coordinator.ask_to_stop()
        if not self.may_be_listed:
            return
        self._has_failed |= failed
        self._others_wait |= self._part(
            lambda in_time: self._coordinator.leave(self._has_failed, in_time), deadline
        )

    def withdraw(self, error: BaseException, deadline: Deadline, is_seated: bool) -> None:
        """Leave, best effort: the error is what matters, and the caller has waited long enough.

        Args:
            error: what ended the join whose deadline this was.
            is_seated: the node is in a complete round; the others must not wait for its address, or
                for its workers.
        """
        # An error with a cause at the deadline: the backend does not answer.
        may_ask = not deadline.is_over or error.__cause__ is None
        told_s = self._withdraw_s if may_ask else 0.0
        if isinstance(error, RendezvousError):
            in_time = deadline.sooner(told_s)
        else:  # Ctrl-C, or what a signal's handler raised
            self.is_interrupted = True
            in_time = Deadline.after(min(told_s, _INTERRUPTED_S))
        try:
            self.leave(is_seated, in_time)
        except RendezvousError as failure:
            _log.info(
                "run %r: cannot tell the other nodes that this one left: %s",
                self._run_id,
                failure,
            )

    def give_up(self, ending: Ending, deadline: Deadline) -> str:
        """Like `leave`, for good; returns which node gave up first, and why."""
        self._coordinator.ask_to_stop()
        if not self.may_be_listed:
            return ""
        self._has_failed = True
        return self._part(lambda in_time: self._coordinator.give_up(ending, in_time), deadline)

    def _part(self, tell: Callable[[Deadline], _T], deadline: Deadline) -> _T:
        in_time = deadline if self._may_wait else deadline.sooner(0.0)
        self._may_wait = False
        told = tell(in_time)
        self.may_be_listed = False
        return told

    def wait_until_alone(self, deadline: Deadline) -> bool:
        """Wait until no other node has a place, and waiting nodes know that the job is over.

        False at the deadline. Raises RendezvousError.
        """
        backoff = Backoff(0.02, 0.5)
        while not self._is_alone(deadline):
            if deadline.is_over:
                return False
            backoff.sleep(deadline)
        return True

    def _is_alone(self, deadline: Deadline) -> bool:
        census = self._coordinator.census(deadline)
        self._others_wait |= bool(census.waiting or census.spares)
        listed = [*census.participants, *census.waiting, *census.spares]
        self.others = sum(node != self._node for node in listed)
        if self.others > 0:
            self._dismissed = None
            return False
        if self._dismissed is None:
            self._dismissed = Deadline.after(self._coordinator.dismissal_s)
        return not self._others_wait or self._dismissed.is_over
