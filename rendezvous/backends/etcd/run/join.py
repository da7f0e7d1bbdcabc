"""Joining where a leader that the nodes elect runs the rulebook: write what one wants, then wait
for what the leader publishes. Runs on the caller's thread.
"""

import json
from collections.abc import Callable

from rendezvous import _core
from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousError,
    RendezvousFailedError,
    RendezvousStateError,
)
from rendezvous._base.join_time import JoinTime
from rendezvous._coordination.coordinator import Closure, NodeSetup, Seat
from rendezvous._coordination.exchange import Exchange
from rendezvous._coordination.join import Answer, Joining
from rendezvous._coordination.run_view import RunView
from rendezvous._coordination.waiting import (
    Progress,
    closed_error,
    failed_error,
    finished_error,
    left_error,
)
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.run.election import Election
from rendezvous.backends.etcd.run.keys import RunKeys, Summary, page_of, rank_on
from rendezvous.backends.etcd.run.news import News
from rendezvous.backends.etcd.run.place import Place
from rendezvous.backends.etcd.run.view import read_group, view_of_joiner

__all__ = ["EtcdJoining"]

# When a node that cannot reach etcd says so.
_FIRST_WORD_S = 1.0
_REFUSALS = {"closed": RendezvousClosedError, "failed": RendezvousFailedError}


class EtcdJoining(Joining):
    """Looks who is there when the log is to say it, and shortly before the deadline.

    Args:
        is_wanted: returns False once another thread has made the node leave.
    """

    def __init__(  # noqa: PLR0917
        self,
        client: EtcdClient,
        keys: RunKeys,
        setup: NodeSetup,
        place: Place,
        news: News,
        election: Election,
        progress: Progress,
        after_round: int,
        is_wanted: Callable[[], bool],
    ) -> None:
        self._client = client
        self._keys = keys
        self._setup = setup
        self._place = place
        self._news = news
        self._election = election
        self._progress = progress
        self._exchange = Exchange(setup)
        self._after_round = after_round
        self._is_wanted = is_wanted
        # Of what this node has written; 0: it must be written, again if the place was lost since.
        self._revision = 0
        self._losses = 0
        self._was_evicted = False
        self._attempt_s: float | None = _FIRST_WORD_S
        # The last complete round in which it looked for its seat, and the last refusals.
        self._looked_at = after_round
        self._refused_at = 0
        # What was heard before it looked last, and what was published when it last found out
        # whether it is a spare.
        self._heard = news.heard
        self._stood_at: Summary | None = None
        self._last_look: Deadline | None = None  # the deadline for which it was made

    def ask(self, time: JoinTime) -> Answer:
        if not self._is_wanted():
            raise left_error(self._setup.run_id)
        if self._revision and self._news.losses != self._losses:
            self._revision, self._was_evicted = 0, True
        if not self._revision:
            self._write(time.deadline)
        self._heard = self._news.heard
        seat = self._look_for_seat(time.deadline)
        was_evicted, self._was_evicted = self._was_evicted, False
        if seat is not None:
            return Answer(seat, was_evicted=was_evicted)
        is_spare = self._is_spare(time)
        return Answer(None, is_spare, self._view_if_due(time), was_evicted=was_evicted)

    def wait(self, time: JoinTime) -> None:
        until = time.deadline
        if self._last_look != until:
            until = time.last_look.or_sooner(self._progress.due)
        self._news.wait(self._heard, lambda: not self._is_wanted(), until)

    def look(self, time: JoinTime) -> RunView | None:
        if self._last_look == time.deadline:
            return None  # it failed just now
        try:
            return self._view(time)
        except RendezvousError:
            return None

    def _write(self, deadline: Deadline) -> None:
        def write(deadline: Deadline) -> int:
            written = self._place.ask_to_join(self._after_round, deadline)
            if not written.has_leader:
                self._election.stand(deadline)
            return written.revision

        attempt_s, self._attempt_s = self._attempt_s, None
        losses = self._news.losses  # what is lost meanwhile may be what is written here
        self._revision = self._exchange.ask(write, deadline, attempt_s)
        self._attempt_s, self._losses = _FIRST_WORD_S, losses

    def _look_for_seat(self, deadline: Deadline) -> Seat | None:
        """From what was published last. Raises when it says that there will be none."""
        summary, broken = self._news.summary, self._news.broken
        run = f"run {self._setup.run_id!r}"
        if broken is not None:
            raise RendezvousStateError(f"{run}: {broken}") from broken
        if summary is None:
            return None
        if summary.placed_round > self._looked_at:
            seat = self._exchange.ask(lambda in_time: self._seat_in(summary, in_time), deadline)
            self._looked_at = summary.placed_round
            if seat is not None:
                return seat
        if summary.refused_at >= self._revision and summary.refused_at != self._refused_at:
            self._exchange.ask(self._check_refusal, deadline)
            self._refused_at = summary.refused_at
        # A later start of the job opens it, once its leader has read what this node wants.
        if summary.closed and summary.applied >= self._revision:
            closure = Closure(summary.close_reason, summary.do_not_restart)
            raise closed_error(self._setup.run_id, closure)
        if summary.failed_round and summary.failed_at > self._revision:
            raise failed_error(self._setup.run_id, summary.cause)
        if summary.finished_at > self._revision:
            raise finished_error(self._setup.run_id, summary.finished_round, None)
        return None

    def _seat_in(self, summary: Summary, deadline: Deadline) -> Seat | None:
        name = self._place.name
        page = self._keys.seats(summary.placed_round, page_of(name, summary.pages))
        found = self._client.range(page, deadline=deadline).first
        seat = None if found is None else rank_on(found.value, name)
        if seat is None or summary.placed_first is None:
            return None
        rank, before, after = seat
        first = _core.Node(*summary.placed_first)
        return Seat(summary.placed_round, rank, summary.placed_world, first, (before, after))

    def _check_refusal(self, deadline: Deadline) -> None:
        found = self._client.range(self._keys.refused(self._place.name), deadline=deadline).first
        if found is None:
            return
        refusal = json.loads(found.value)
        if refusal["revision"] == self._revision:
            kind = _REFUSALS.get(refusal["kind"], RendezvousStateError)
            raise kind(f"run {self._setup.run_id!r}: {refusal['text']}")

    def _is_spare(self, time: JoinTime) -> bool | None:
        """Asked only where what was published leaves that open."""
        if self._news.is_cut_off:
            time.note_outage()
            return None
        summary, is_spare = self._news.summary, time.is_spare
        if summary is None or summary == self._stood_at or summary.applied < self._revision:
            return is_spare
        if is_spare:
            is_open = not summary.complete or summary.waiting > 0 or summary.spares == 0
        else:
            is_open = summary.complete and summary.spares > 0
        if is_open:
            group = self._exchange.ask(
                lambda in_time: read_group(self._client, self._keys, in_time), time.deadline
            )
            is_spare = group.placement(self._setup.node).role == "spare"
        self._stood_at = summary
        return is_spare

    def _view_if_due(self, time: JoinTime) -> RunView | None:
        is_last = time.last_look.is_over and self._last_look != time.deadline
        if not is_last and (self._last_look == time.deadline or not self._progress.due.is_over):
            return None
        if is_last:
            self._last_look = time.deadline
        try:
            return self._view(time)
        except (RendezvousConnectionError, RendezvousStateError) as error:
            if not is_last:
                self._progress.tell_failure(RendezvousConnectionError(str(error)), again=True)
            return None

    def _view(self, time: JoinTime) -> RunView:
        return self._exchange.ask(
            lambda in_time: view_of_joiner(
                self._client, self._keys, self._setup, self._news.summary, in_time
            ),
            time.deadline,
        )
