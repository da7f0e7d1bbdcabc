"""Getting into a round: join, look again until it is complete, try again where the store failed.

Which node is in, and when a round is complete, is asked of _core.Group through StateSync; how long
to wait between two looks, and what to say, is in waiting.py. Runs on the caller's thread.
"""

import logging
from collections.abc import Callable
from time import time_ns

from rendezvous import _core
from rendezvous._base.deadline import now_s
from rendezvous._base.errors import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousStateError,
)
from rendezvous._base.join_time import JoinTime
from rendezvous._base.patience import Backoff, is_hopeless
from rendezvous._coordination.coordinator import NodeSetup, Seat
from rendezvous._coordination.sync import StateSync
from rendezvous._coordination.waiting import (
    Pace,
    Progress,
    Standing,
    evicted_text,
    failed_error,
    finished_error,
    left_error,
    standing_text,
    timeout_error,
)

__all__ = ["Joiner"]

_log = logging.getLogger(__name__)

# For so long a closed run stays closed, as a server remembers it.
_CLOSED_S = 24 * 3600.0


class Joiner:
    """Brings one node into rounds of one run."""

    def __init__(self, setup: NodeSetup, sync: StateSync, is_wanted: Callable[[], bool]) -> None:
        """is_wanted: whether the node has not left meanwhile, by another thread."""
        self._setup = setup
        self._sync = sync
        self._is_wanted = is_wanted

    def join(self, after_round: int, time: JoinTime) -> Seat:
        """As Coordinator.join."""
        attempt = _Attempt(self._setup, after_round, self._is_wanted)
        pace = Pace()
        progress = Progress(self._setup, time)
        backoff = Backoff(0.05, 2.0)
        standing: Standing | None = None
        failure: RendezvousConnectionError | None = None
        while True:
            begun_s = now_s()
            try:
                standing = self._sync.run(attempt, time.deadline)
                failure = None
                backoff = Backoff(0.05, 2.0)
            except RendezvousConnectionError as error:
                if is_hopeless(error):
                    raise
                time.note_outage()
                progress.tell_failure(error, again=failure is not None)
                failure = error
            else:
                attempt.note(standing)
                is_spare = standing.role == "spare"
                if time.note(is_spare) and standing.role in ("spare", "waiting", "forming"):
                    what = "spare" if is_spare else "no spare"
                    _log.info("%s", standing_text(self._setup.run_id, what))
                if standing.role == "active" and standing.round > after_round:
                    return Seat(
                        standing.round,
                        standing.rank,
                        standing.world_size,
                        standing.rank_0,
                        standing.neighbours,
                    )
                progress.tell(standing)
            took_s = now_s() - begun_s
            if time.deadline.is_over:
                raise timeout_error(self._setup, time, standing, failure) from failure
            if failure is not None:
                backoff.sleep(time.deadline)
            elif standing is not None:
                pace.sleep(standing, took_s, time.deadline)


class _Attempt:
    """The operation of a join: idempotent, and applied at each look: who was evicted comes back."""

    def __init__(self, setup: NodeSetup, after_round: int, is_wanted: Callable[[], bool]) -> None:
        self._is_wanted = is_wanted
        self._run_id = setup.run_id
        self._node = setup.node
        self._settings = setup.settings
        self._facts = setup.facts
        self._after_round = after_round
        # The round whose end this node waits for, on the wait list or as a spare; 0: it does not.
        self._outlasts = 0
        self._role = "absent"
        self._is_evicted = False

    def __call__(self, group: _core.Group, at_s: float) -> Standing:
        if not self._is_wanted():
            raise left_error(self._run_id)
        is_gone = group.placement(self._node).role == "absent"
        self._is_evicted = is_gone and self._role != "absent"
        # Asked before joining: who waited for a job that finished is not listed any more, and must
        # not start it anew.
        if self._outlasts and is_gone and group.finished_round >= self._outlasts:
            raise finished_error(self._run_id, group.finished_round, self._role)
        if is_gone and self._role != "absent" and group.failed_round:
            raise failed_error(self._run_id, group.cause)
        # An old job of the same name shall not keep this one out for ever.
        group.forget_close(time_ns() // 1_000_000, _CLOSED_S)
        try:
            group.join(self._node, self._settings, self._after_round, at_s, self._facts)
        except (RendezvousClosedError, RendezvousStateError) as error:
            raise type(error)(f"run {self._run_id!r}: {error}") from error
        placement = group.placement(self._node)
        participants = group.participants
        return Standing(
            role=placement.role,
            rank=placement.rank,
            round=group.round,
            world_size=group.world_size,
            participants=tuple(participants),
            participants_count=len(participants),
            is_complete=group.complete,
            waiting=len(group.waiting),
            spares=len(group.spares),
            lost=tuple(group.lost),
            last_call_left_s=group.last_call_left(at_s),
            look_again_s=group.next_deadline(),
            rank_0=_rank_0(group, participants),
            neighbours=_neighbours(group, placement),
        )

    def note(self, standing: Standing) -> None:
        """Called with what got stored, which an attempt that lost its race did not."""
        if self._is_evicted:
            _log.warning("%s", evicted_text(self._run_id))
        self._outlasts = standing.round if standing.role in ("waiting", "spare") else 0
        self._role = standing.role


def _rank_0(group: _core.Group, participants: list[_core.Node]) -> _core.Node | None:
    """Participants stand in the order of their ranks, and who left is none."""
    first = participants[0] if participants else None
    return first if first is not None and group.placement(first).rank == 0 else None


def _neighbours(
    group: _core.Group, placement: _core.Placement
) -> tuple[_core.Node | None, _core.Node | None]:
    if placement.role != "active":
        return None, None
    rank, size = placement.rank, group.world_size
    return group.node_at((rank - 1) % size), group.node_at((rank + 1) % size)
