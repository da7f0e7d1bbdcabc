"""The rulebook run by the store's server: a node sends one JOIN and gets one answer.

Translates between what a handler asks (../coordinator.py) and what _core.RunClient says. What goes
on in the background is watch.py's. Knows no rule. Called from the handler's caller's thread.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from rendezvous import _core
from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousError,
    RendezvousStateError,
    RendezvousTimeoutError,
    StoreError,
    StoreLimitError,
)
from rendezvous._base.hosts import match_host
from rendezvous._base.join_time import JoinTime
from rendezvous._base.patience import Backoff, is_hopeless, patiently
from rendezvous._coordination.by_server.census import census_of, look_at
from rendezvous._coordination.by_server.watch import Watch
from rendezvous._coordination.coordinator import Census, Coordinator, Ending, NodeSetup, Seat, View
from rendezvous._coordination.waiting import (
    Progress,
    Standing,
    evicted_text,
    finished_error,
    left_error,
    standing_text,
    timeout_error,
)

__all__ = ["ServerRun"]

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
# What a request gets even at its deadline: enough for a server that is well, within the promise of
# 100 ms.
_EXCHANGE_S_MIN = 0.05
_SETTLE_S = 0.2
# How long a spare waits at once: a server that falls silent is noticed then.
_SPARE_ASKS_S = 60.0
_LEAVE_ATTEMPT_S = 0.5


class ServerRun(Coordinator):
    """One node's line to a group that the store's server keeps."""

    def __init__(self, store: _core.TCPStore, setup: NodeSetup) -> None:
        self._setup = setup
        settings = setup.settings
        # A connection that broke says more than silence: one that lives is back at once.
        grace_s = settings.keep_alive_interval * settings.keep_alive_max_attempt / 3
        self._client = _core.RunClient(
            store, setup.run_id, setup.node, settings, grace_s, setup.facts
        )
        self._watch = Watch(self._client, setup)
        # In the last complete round, until the node leaves.
        self._seat: Seat | None = None
        # The server has dismissed the node, and may be gone by now: there is nothing to leave.
        self._is_dismissed = False

    @property
    def view(self) -> View:
        return self._watch.view

    @property
    def is_running(self) -> bool:
        return self._watch.is_running

    def start(self) -> None:
        self._watch.start()

    def ask_to_stop(self) -> None:
        self._watch.ask_to_stop()

    def stop(self, deadline: Deadline) -> None:
        self._watch.stop(deadline)

    def join(self, after_round: int, time: JoinTime) -> Seat:
        self._is_dismissed = False
        progress = Progress(self._setup, time)
        self._watch.begin_join(progress, time.deadline)
        backoff = Backoff(0.05, 2.0)
        failure: RendezvousConnectionError | None = None
        is_told = False
        while True:
            try:
                self._reclaim(after_round, time.deadline)
                seat = self._join_once(after_round, time)
            except RendezvousConnectionError as error:
                if is_hopeless(error):
                    raise
                time.note_outage()
                if time.deadline.is_over:
                    raise self._timeout(time, error) from error
                # A connection that only broke is no outage.
                if failure is not None:
                    progress.tell_failure(error, again=is_told)
                    is_told = True
                failure = error
                self._watch.note_deadline(time.deadline)
                backoff.sleep(time.deadline)
            else:
                if seat is not None:
                    return seat
                if not self._watch.is_running:
                    raise left_error(self._setup.run_id)
                _log.warning("%s", evicted_text(self._setup.run_id))

    def _reclaim(self, after_round: int, deadline: Deadline) -> None:
        """A restarted server has to know that this node is who has its place in the old round."""
        seat = self._seat
        if seat is None or seat.round != after_round:
            return
        if not self._ask(self._watch.keep_alive, deadline).known:
            self._ask(
                lambda in_time: self._client.resume(
                    seat.round, seat.rank, seat.world_size, in_time.left_s
                ),
                deadline,
            )

    def _join_once(self, after_round: int, time: JoinTime) -> Seat | None:
        """None: the node was listed and is no more; it may join again."""
        joined = self._ask_to_join(after_round, time)
        while joined.outcome in ("spare", "no spare"):
            if time.note(joined.outcome == "spare"):
                _log.info("%s", standing_text(self._setup.run_id, joined.outcome))
            self._watch.note_deadline(time.deadline)
            if time.deadline.is_over:
                raise self._timeout(time, None)
            joined = self._ask_to_join(after_round, time)
        if joined.outcome == "timeout":
            raise self._timeout(time, None)
        if joined.outcome == "dropped":
            return None
        if joined.outcome == "finished":
            self._is_dismissed = True
            standing = self._watch.standing
            role = None if standing is None else standing.role
            raise finished_error(self._setup.run_id, joined.round, role)
        seat = Seat(
            joined.round,
            joined.rank,
            joined.world_size,
            joined.first,
            (joined.before, joined.after),
        )
        self._seat = seat
        self._watch.take_seat(seat, joined.changes)
        return seat

    def _ask_to_join(self, after_round: int, time: JoinTime) -> _core.RunJoined:
        in_time = time.deadline.at_least(_EXCHANGE_S_MIN)
        if time.is_spare:
            in_time = in_time.sooner(_SPARE_ASKS_S)
        return self._told(lambda: self._client.join(after_round, in_time.left_s, time.is_spare))

    def leave(self, failed: bool, deadline: Deadline) -> bool:
        if self._is_dismissed:
            self._watch.give_up()
            return False
        with self._watch.holding_place(deadline):
            self._seat = None
            self._watch.give_up()
            self._leave(lambda in_time: self._client.leave(failed, in_time.left_s), deadline)
        # Who waits for a job's end is told by the server, in the same moment.
        return False

    def give_up(self, ending: Ending, deadline: Deadline) -> str:
        with self._watch.holding_place(deadline):
            self._seat = None
            self._watch.give_up()
            return self._leave(
                lambda in_time: self._client.give_up(
                    ending.exit_code, ending.unix_ms, ending.last_line, in_time.left_s
                ),
                deadline,
            )

    def _leave(self, call: Callable[[Deadline], _T], deadline: Deadline) -> _T:
        """Of a run whose store has gone, there is nobody to be told."""

        def attempt() -> _T:
            # Short: a store that is gone is asked for first, and then looked for.
            return self._ask(call, deadline.sooner(_LEAVE_ATTEMPT_S))

        return patiently(attempt, deadline, self._setup.store_is_gone)

    def is_disturbed(self, deadline: Deadline) -> bool:
        # The end of a node reaches the server on another way than what broke by it came here.
        settled = deadline.sooner(_SETTLE_S)
        while True:
            status = self._ask(self._status, deadline)
            is_lost = status.suspects > 0 or status.lost > status.gave_up
            if is_lost or status.waiting > 0 or status.role != "active":
                return True
            if settled.is_over:
                return False
            settled.sleep(_SETTLE_S)

    def close(self, deadline: Deadline, reason: str = "") -> None:
        self._patiently(lambda in_time: self._client.close_run(in_time.left_s, reason), deadline)
        self._watch.note_closed()

    def close_reason(self, deadline: Deadline) -> str:
        return self._ask(self._status, deadline).close_reason

    def look(self, deadline: Deadline) -> None:
        status = self._ask(self._status, deadline)
        self._watch.view = replace(self.view, closed=status.closed or self.view.closed)

    def census(self, deadline: Deadline) -> Census:
        return self._patiently(lambda in_time: census_of(self._client, in_time), deadline)

    def is_deserted(self, deadline: Deadline) -> bool:
        status = self._ask(self._status, deadline)
        return status.participants + status.waiting + status.spares == 0

    def reached_at(self, deadline: Deadline) -> str:
        # As the nodes' connections show it. Who is no machine of that address has come through a
        # tunnel, which ends beside the server.
        reached = self._ask(self._status, deadline).reached_at
        if not reached or match_host(reached).matched:
            return reached
        return super().reached_at(deadline)

    def is_intact(self, deadline: Deadline) -> bool:
        view = self.view
        if view.role != "active":
            return False
        if view.changes == 0:
            return True
        try:
            status = self._ask(self._status, deadline)
        except RendezvousError:
            return True  # who asks has a deadline of its own
        return status.role == "active" and status.round == view.my_round and status.lost == 0

    def _timeout(
        self, time: JoinTime, failure: RendezvousConnectionError | None
    ) -> RendezvousTimeoutError:
        standing = self._watch.standing
        if standing is None and failure is None:
            standing = self._look_late(time.deadline)
        return timeout_error(self._setup, time, standing, failure)

    def _look_late(self, deadline: Deadline) -> Standing | None:
        """Who is there after this node's time was over, and itself."""
        try:
            standing = self._ask(
                lambda in_time: look_at(self._client, self._setup.expected, in_time), deadline
            )
        except RendezvousError:
            return None
        if standing is None or standing.role != "absent":
            return standing
        if standing.is_complete:
            is_full = standing.participants_count + standing.waiting >= self._nodes_max
            return replace(standing, role="spare" if is_full else "waiting")
        participants = tuple(sorted({*standing.participants, self._setup.node}))
        return replace(
            standing,
            role="forming",
            participants=participants,
            participants_count=standing.participants_count + 1,
        )

    @property
    def _nodes_max(self) -> int:
        return self._setup.settings.max_nodes

    def _status(self, deadline: Deadline) -> _core.RunStatus:
        return self._client.status(deadline.left_s)

    def _patiently(self, call: Callable[[Deadline], _T], deadline: Deadline) -> _T:
        return patiently(lambda: self._ask(call, deadline), deadline)

    def _ask(self, call: Callable[[Deadline], _T], deadline: Deadline) -> _T:
        in_time = deadline.at_least(_EXCHANGE_S_MIN).sooner(self._setup.exchange_s)
        return self._told(lambda: call(in_time))

    def _told(self, call: Callable[[], _T]) -> _T:
        """Turns what the client raises into what a rendezvous raises."""
        try:
            return call()
        except StoreLimitError as error:
            # More than the server gives: trying again changes nothing.
            raise RendezvousStateError(f"run {self._setup.run_id!r}: {error}") from error
        except StoreError as error:
            raise RendezvousConnectionError(f"run {self._setup.run_id!r}: {error}") from error
        except (RendezvousClosedError, RendezvousStateError) as error:
            run = f"run {self._setup.run_id!r}: "
            text = str(error)
            raise type(error)(text if text.startswith("run ") else run + text) from error
