"""Joining a round: one loop for all ways of keeping a run.

A Joining knows what to ask and how to wait for news: by_state/join.py, by_server/join.py,
backends/etcd/run/join.py. This loop knows what a failure means, when a join is over, and what to
log. Runs on the caller's thread.
"""

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass

from rendezvous._base.errors import RendezvousConnectionError
from rendezvous._base.join_time import JoinTime
from rendezvous._base.patience import Backoff, is_hopeless
from rendezvous._coordination.coordinator import NodeSetup, Seat
from rendezvous._coordination.run_view import RunView
from rendezvous._coordination.waiting import Progress, evicted_text, standing_text, timeout_error

__all__ = ["Answer", "Joining", "join"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """The answer of a run's keeper to a joining node.

    Attributes:
        seat: in the round, which is complete.
        is_spare: whether the node is a spare; None: not known at the moment.
        view: the nodes in the run, if known.
        was_evicted: the node was considered lost, and has asked again, or will.
        is_late: its time is over.
    """

    seat: Seat | None = None
    is_spare: bool | None = None
    view: RunView | None = None
    was_evicted: bool = False
    is_late: bool = False


class Joining(ABC):
    """One node's way into one round, for one kind of keeper."""

    # A line that only broke is no outage: so many failures in a row are not told.
    failures_untold = 0

    @abstractmethod
    def ask(self, time: JoinTime) -> Answer:
        """Ask for a place, or whether there is one by now. May wait until the deadline.

        Raises RendezvousConnectionError, after which it is called again, and errors that end the
        join: another RendezvousError, or the refusal of a store.
        """

    def wait(self, time: JoinTime) -> None:  # noqa: B027  (whose `ask` waits has nothing to do)
        """Wait until it makes sense to ask again, at most until the deadline."""

    @abstractmethod
    def look(self, time: JoinTime) -> RunView | None:
        """The nodes in the run, at the deadline, for a join that does not know them. Raises
        nothing."""


def join(setup: NodeSetup, joining: Joining, progress: Progress, time: JoinTime) -> Seat:
    """Join until the node has a seat. Raises the errors of Coordinator.join."""
    view: RunView | None = None
    backoff, failures = Backoff(0.05, 2.0), 0
    while True:
        try:
            answer = joining.ask(time)
        except RendezvousConnectionError as error:
            if is_hopeless(error):
                raise
            time.note_outage()
            if time.deadline.is_over:
                raise timeout_error(setup, time, view or joining.look(time), error) from error
            failures += 1
            untold = joining.failures_untold
            if failures > untold:
                progress.tell_failure(error, again=failures > untold + 1)
            backoff.sleep(time.deadline)
            continue
        backoff, failures = Backoff(0.05, 2.0), 0
        if answer.was_evicted:
            _log.warning("%s", evicted_text(setup.run_id))
        if answer.seat is not None:
            return answer.seat
        if answer.is_spare is not None and time.note(answer.is_spare):
            what = "spare" if answer.is_spare else "no spare"
            _log.info("%s", standing_text(setup.run_id, what))
        if answer.view is not None:
            view = answer.view
            progress.tell(view)
        if answer.is_late or time.deadline.is_over:
            raise timeout_error(setup, time, view or joining.look(time), None)
        joining.wait(time)
