"""Joining a run that the nodes keep: join, and poll until the round is complete.

_core.Group decides, through StateSync, which node is in and when a round is complete. Runs on the
caller's thread.
"""

from collections.abc import Callable
from time import time_ns

from rendezvous import _core
from rendezvous._base.deadline import now_s
from rendezvous._base.errors import RendezvousClosedError, RendezvousStateError
from rendezvous._base.join_time import JoinTime
from rendezvous._coordination.by_state.pace import Pace
from rendezvous._coordination.by_state.sync import StateSync
from rendezvous._coordination.coordinator import NodeSetup, Seat
from rendezvous._coordination.join import Answer, Joining
from rendezvous._coordination.run_view import RunView, view_of_group
from rendezvous._coordination.waiting import failed_error, finished_error, left_error

__all__ = ["StateJoining"]

# For so long a closed run stays closed, as a server remembers it.
_CLOSED_S = 24 * 3600.0


class StateJoining(Joining):
    """As an operation on the group, it is idempotent and applied at each poll, so an evicted node
    comes back.

    Args:
        is_wanted: returns False once another thread has made the node leave.
    """

    def __init__(
        self, setup: NodeSetup, sync: StateSync, after_round: int, is_wanted: Callable[[], bool]
    ) -> None:
        self._setup = setup
        self._sync = sync
        self._after_round = after_round
        self._is_wanted = is_wanted
        self._pace = Pace()
        self._took_s = 0.0
        # As of the state that got stored last.
        self._view: RunView | None = None
        # Of the attempt that was made last, which may have lost its race.
        self._is_evicted = False

    def ask(self, time: JoinTime) -> Answer:
        begun_s = now_s()
        view = self._sync.run(self._attempt, time.deadline)
        self._took_s, self._view = now_s() - begun_s, view
        seat = None
        if view.role == "active" and view.round > self._after_round:
            seat = Seat(view.round, view.rank, view.world_size, view.rank_0, view.neighbours)
        return Answer(seat, view.role == "spare", view, was_evicted=self._is_evicted)

    def wait(self, time: JoinTime) -> None:
        assert self._view is not None
        self._pace.sleep(self._view, self._took_s, time.deadline)

    def look(self, time: JoinTime) -> RunView | None:
        del time
        return self._view

    def _attempt(self, group: _core.Group, at_s: float) -> RunView:
        run_id, node = self._setup.run_id, self._setup.node
        if not self._is_wanted():
            raise left_error(run_id)
        view, is_gone = self._view, group.placement(node).role == "absent"
        self._is_evicted = is_gone and view is not None
        # Asked before joining: who waited for a job that finished is not listed any more, and must
        # not start it anew.
        if is_gone and view is not None:
            waited = view.role in ("waiting", "spare")
            if waited and group.finished_round >= view.round:
                raise finished_error(run_id, group.finished_round, view.role)
            if group.failed_round:
                raise failed_error(run_id, group.cause)
        # An old job of the same name must not keep this one out for good.
        group.forget_close(time_ns() // 1_000_000, _CLOSED_S)
        try:
            group.join(node, self._setup.settings, self._after_round, at_s, self._setup.facts)
        except (RendezvousClosedError, RendezvousStateError) as error:
            raise type(error)(f"run {run_id!r}: {error}") from error
        return view_of_group(group, at_s, "store", node)
