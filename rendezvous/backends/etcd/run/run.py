"""The rulebook run by one node that all elect: each node writes one small key, and reads one seat.

Translates between what a handler asks (_coordination/coordinator.py) and what is written (keys.py).
What goes on in the background is follower.py's. Knows no rule. Called from the handler's caller's
thread.
"""

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from rendezvous import _core
from rendezvous._base.deadline import Deadline, now_s
from rendezvous._base.errors import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousError,
    RendezvousFailedError,
    RendezvousStateError,
    RendezvousTimeoutError,
    StoreError,
)
from rendezvous._base.join_time import JoinTime
from rendezvous._base.patience import Backoff
from rendezvous._coordination.coordinator import (
    Census,
    Coordinator,
    Ending,
    NodeSetup,
    Seat,
    View,
    is_disturbed,
)
from rendezvous._coordination.waiting import (
    Progress,
    Standing,
    evicted_text,
    failed_error,
    finished_error,
    left_error,
    standing_text,
    timeout_error,
)
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.client.lease import KeptLease
from rendezvous.backends.etcd.run.census import census_of, look_at
from rendezvous.backends.etcd.run.follower import Follower
from rendezvous.backends.etcd.run.keys import RunKeys, Summary, Wish, page_of, rank_on
from rendezvous.backends.etcd.run.leader.leader import read_run
from rendezvous.backends.etcd.run.place import Place
from rendezvous.backends.etcd.transport.errors import EtcdRequestError

__all__ = ["EtcdRun"]

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
# What a request gets even at its deadline: enough for a cluster that is well, within the promise of
# 100 ms.
_EXCHANGE_S_MIN = 0.05
# How long before a join's deadline the node looks once more who is there: at the deadline, all who
# gave up are gone.
_LAST_LOOK_S = 0.15
# Of the nodes of a larger run, nobody is asked for a sign of life.
_ASKED_MAX = 64
_SILENCE_LOOK_S = 0.5
# When a node that cannot reach etcd says so.
_FIRST_WORD_S = 1.0
_REFUSALS = {"closed": RendezvousClosedError, "failed": RendezvousFailedError}


class EtcdRun(Coordinator):
    """One node's line to a group whose leader is elected over etcd."""

    def __init__(
        self, client: EtcdClient, keys: RunKeys, setup: NodeSetup, kept: KeptLease
    ) -> None:
        self._client = client
        self._keys = keys
        self._setup = setup
        self._place = Place(client, keys, setup, kept)
        self._follower = Follower(client, keys, setup, self._place, kept)

    @property
    def view(self) -> View:
        return self._follower.view

    @property
    def is_running(self) -> bool:
        return self._follower.is_running

    def is_intact(self, deadline: Deadline) -> bool:
        summary = self._follower.summary
        return self.view.role == "active" and summary is not None and summary.lost == 0

    def start(self) -> None:
        self._follower.start()

    def ask_to_stop(self) -> None:
        self._follower.ask_to_stop()

    def stop(self, deadline: Deadline) -> None:
        self._follower.stop(deadline)

    def join(self, after_round: int, time: JoinTime) -> Seat:
        progress = Progress(self._setup, time)
        self._follower.take_seat(None)
        deadline, last_look = time.deadline, _last_look_before(time.deadline)
        error: RendezvousTimeoutError | None = None
        tell = Deadline.after(Progress.interval_s())
        try:
            attempt = _Attempt(after_round, self._ask_to_join(after_round, deadline, progress))
            while True:
                if not self._follower.is_running:
                    raise left_error(self._setup.run_id)
                losses, seen = self._follower.losses, self._follower.news
                seat = self._look_for_seat(attempt, deadline)
                if seat is not None:
                    self._follower.take_seat(seat)
                    return seat
                self._note_standing(attempt, time)
                if time.deadline != deadline:
                    deadline, last_look = time.deadline, _last_look_before(time.deadline)
                    error = None
                if deadline.is_over and error is not None:
                    raise error
                if last_look.is_over:
                    error = error or self._timeout(time, None)
                elif tell.is_over:
                    tell = Deadline.after(Progress.interval_s())
                    self._tell(progress)
                self._wait(seen, deadline if error else last_look.or_sooner(tell))
                if self._follower.losses != losses:
                    _log.warning("%s", evicted_text(self._setup.run_id))
                    time.note_outage()
                    revision = self._ask_to_join(after_round, time.deadline, progress)
                    attempt.revision = revision
        except RendezvousConnectionError as failure:
            if isinstance(failure.__cause__, EtcdRequestError) or not time.deadline.is_over:
                raise
            raise self._timeout(time, failure) from failure

    def _note_standing(self, attempt: "_Attempt", time: JoinTime) -> None:
        """Whether this node is a spare, is asked only where what was published leaves that open."""
        summary = self._follower.summary
        if self._follower.is_cut_off:
            time.note_outage()
            return
        is_spare = time.is_spare
        if summary not in (None, attempt.stood_at) and summary.applied >= attempt.revision:
            attempt.stood_at = summary
            if is_spare:
                is_open = not summary.complete or summary.waiting > 0 or summary.spares == 0
            else:
                is_open = summary.complete and summary.spares > 0
            if is_open:
                is_spare = self._patiently(self._is_spare, time.deadline)
        if time.note(is_spare):
            what = "spare" if is_spare else "no spare"
            _log.info("%s", standing_text(self._setup.run_id, what))

    def _is_spare(self, deadline: Deadline) -> bool:
        reading = read_run(self._client, self._keys, deadline)
        group = reading.book(self._keys, now_s()).group
        return group.placement(self._setup.node).role == "spare"

    def leave(self, failed: bool, deadline: Deadline) -> bool:
        self._follower.take_seat(None)
        self._patiently(lambda in_time: self._place.give_up(failed, in_time), deadline)
        self.release(deadline)
        # Who waits for a job's end is told by the leader.
        return False

    def give_up(self, ending: Ending, deadline: Deadline) -> str:
        self._follower.take_seat(None)
        self._patiently(lambda in_time: self._place.give_up(True, in_time, ending), deadline)
        try:
            return self._ask(self._cause, deadline)
        finally:
            self.release(deadline)

    def release(self, deadline: Deadline) -> None:
        # It tells the others that this node went, and lets another one lead.
        leader = self._follower.leader
        if leader is None or leader.join(deadline):
            self._place.release(deadline)
        self._client.close()

    def _cause(self, deadline: Deadline) -> str:
        reading = read_run(self._client, self._keys, deadline)
        return reading.book(self._keys, now_s()).group.cause

    def is_disturbed(self, deadline: Deadline) -> bool:
        """Etcd tells nobody of a broken connection: who lives has renewed its lease meanwhile."""
        begun_s = now_s()

        def look(deadline: Deadline) -> list[int] | None:
            reading = read_run(self._client, self._keys, deadline)
            group = reading.book(self._keys, now_s()).group
            if is_disturbed(group, self._setup.node):
                return None
            own = self._keys.node(self._place.name)
            others = (kv for kv in reading.inbox if kv.key not in (own, self._keys.closed))
            leases = [kv.lease for kv in others if Wish.decode(kv.value).kind == "join"]
            return leases if len(leases) <= _ASKED_MAX else []

        def silent(lease: int, deadline: Deadline) -> bool:
            asked_s = now_s()  # not when the answer is there, which may take long
            age_s = self._client.lease_age(lease, deadline=deadline)
            return age_s is None or age_s > asked_s - begun_s

        while True:
            leases = self._ask(look, deadline)
            if leases is None:
                return True
            if not any(self._ask(partial(silent, each), deadline) for each in leases):
                return False
            if deadline.is_over:
                return True
            deadline.sleep(_SILENCE_LOOK_S)

    def close(self, deadline: Deadline, reason: str = "") -> None:
        self._patiently(lambda in_time: self._place.close_run(in_time, reason), deadline)
        self._follower.note_closed()

    def close_reason(self, deadline: Deadline) -> str:
        return self._ask(self._read_close_reason, deadline)

    def _read_close_reason(self, deadline: Deadline) -> str:
        reading = read_run(self._client, self._keys, deadline)
        return reading.book(self._keys, now_s()).group.close_reason

    def look(self, deadline: Deadline) -> None:
        def read(deadline: Deadline) -> bool:
            if self._client.range(self._keys.closed, keys_only=True, deadline=deadline).kvs:
                return True
            found = self._client.range(self._keys.round, deadline=deadline).first
            return found is not None and Summary.decode(found.value).closed

        if self._ask(read, deadline):
            self._follower.note_closed()

    def census(self, deadline: Deadline) -> Census:
        return self._patiently(
            lambda in_time: census_of(self._client, self._keys, in_time), deadline
        )

    def is_deserted(self, deadline: Deadline) -> bool:
        def has_few(deadline: Deadline) -> bool:
            nodes = self._client.range(*self._keys.nodes, count_only=True, deadline=deadline)
            return nodes.count <= _ASKED_MAX

        # All nodes of a job ask at its end: of many who are still there, nobody reads the names.
        return self._ask(has_few, deadline) and super().is_deserted(deadline)

    def _ask_to_join(self, after_round: int, deadline: Deadline, progress: Progress) -> int:
        def write(deadline: Deadline) -> int:
            written = self._place.ask_to_join(after_round, deadline)
            if not written.has_leader:
                self._follower.stand(deadline)
            return written.revision

        return self._patiently(write, deadline, progress)

    def _look_for_seat(self, attempt: "_Attempt", deadline: Deadline) -> Seat | None:
        """From what was published last. Raises when it says that there will be none."""
        summary, broken = self._follower.summary, self._follower.broken
        if broken is not None:
            raise RendezvousStateError(f"run {self._setup.run_id!r}: {broken}") from broken
        if summary is None:
            return None
        run = f"run {self._setup.run_id!r}"
        if summary.placed_round > attempt.looked_at:
            seat = self._patiently(lambda in_time: self._seat_in(summary, in_time), deadline)
            attempt.looked_at = summary.placed_round
            if seat is not None:
                return seat
        if summary.refused_at >= attempt.revision and summary.refused_at != attempt.refused_at:
            attempt.refused_at = summary.refused_at
            self._patiently(
                lambda in_time: self._check_refusal(attempt.revision, in_time), deadline
            )
        if summary.closed:
            why = f": {summary.close_reason!r}" if summary.close_reason else ""
            raise RendezvousClosedError(
                f"{run}: the rendezvous was closed{why}; a new job needs another run id"
            )
        if summary.failed_round and summary.failed_at > attempt.revision:
            raise failed_error(self._setup.run_id, summary.cause)
        if summary.finished_at > attempt.revision:
            raise finished_error(self._setup.run_id, summary.finished_round, None)
        return None

    def _seat_in(self, summary: Summary, deadline: Deadline) -> Seat | None:
        name = self._place.name
        page = self._keys.seats(summary.placed_round, page_of(name, summary.pages))
        found = self._client.range(page, deadline=deadline).first
        seat = None if found is None else rank_on(found.value, name)
        if seat is None or summary.placed_first is None:
            return None
        rank, *neighbours = seat
        first = _core.Node(*summary.placed_first)
        before, after = neighbours
        return Seat(summary.placed_round, rank, summary.placed_world, first, (before, after))

    def _check_refusal(self, revision: int, deadline: Deadline) -> None:
        found = self._client.range(self._keys.refused(self._place.name), deadline=deadline).first
        if found is None:
            return
        refusal = json.loads(found.value)
        if refusal["revision"] == revision:
            kind = _REFUSALS.get(refusal["kind"], RendezvousStateError)
            raise kind(f"run {self._setup.run_id!r}: {refusal['text']}")

    def _wait(self, seen: object, until: Deadline) -> None:
        """Until something else is published, or the place is lost, or the time has come."""
        follower = self._follower
        with follower.changed:
            follower.changed.wait_for(
                lambda: follower.news != seen or not follower.is_running, until.left_s
            )

    def _tell(self, progress: Progress) -> None:
        try:
            standing = self._look_who_is_there(Deadline.after(self._setup.exchange_s))
        except (StoreError, RendezvousStateError) as error:
            failure = RendezvousConnectionError(str(error))
            progress.tell_failure(failure, again=True)
        else:
            progress.tell(standing)

    def _timeout(
        self, time: JoinTime, failure: RendezvousConnectionError | None
    ) -> RendezvousTimeoutError:
        standing = None
        with suppress(StoreError, RendezvousError):
            standing = self._look_who_is_there(time.deadline.at_least(_EXCHANGE_S_MIN))
        return timeout_error(self._setup, time, standing, failure)

    def _look_who_is_there(self, deadline: Deadline) -> Standing:
        return look_at(self._client, self._keys, self._setup, self._follower.summary, deadline)

    def _patiently(
        self,
        call: Callable[[Deadline], _T],
        deadline: Deadline,
        progress: Progress | None = None,
    ) -> _T:
        """Again and again while etcd is out of reach; what it refuses, it refuses at once.

        progress: says in the log that it is, after a second for the first time.
        """
        backoff = Backoff(0.05, 2.0)
        attempt_s, again = _FIRST_WORD_S if progress else self._setup.exchange_s, False
        while True:
            try:
                return self._ask(call, deadline, attempt_s)
            except RendezvousConnectionError as error:
                refused = isinstance(error.__cause__, EtcdRequestError)
                if refused or deadline.is_over:
                    raise
                if progress is not None:
                    progress.tell_failure(error, again)
                again, attempt_s = True, self._setup.exchange_s
            backoff.sleep(deadline)

    def _ask(
        self, call: Callable[[Deadline], _T], deadline: Deadline, attempt_s: float | None = None
    ) -> _T:
        at_most_s = self._setup.exchange_s
        if attempt_s is not None:
            at_most_s = min(attempt_s, at_most_s)
        try:
            return call(deadline.at_least(_EXCHANGE_S_MIN).sooner(at_most_s))
        except StoreError as error:
            raise RendezvousConnectionError(f"run {self._setup.run_id!r}: {error}") from error


class _Attempt:
    """What a join has seen. looked_at: the last complete round in which it looked for its seat."""

    def __init__(self, after_round: int, revision: int) -> None:
        self.looked_at = after_round
        self.revision = revision
        self.refused_at = 0
        # What was published when it was asked last whether the node is a spare.
        self.stood_at: Summary | None = None


def _last_look_before(deadline: Deadline) -> Deadline:
    return deadline.ahead(min(_LAST_LOOK_S, deadline.left_s / 4))
