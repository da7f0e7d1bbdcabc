"""The background thread of a node whose run is kept by the store's server.

It sends the keep-alives, and between them waits for the server's word that something changed; it
takes the node's place again when the connection or the server is a new one; while the node joins,
it looks at the run, and logs what it sees. Owns the node's view and its seat. Knows no rule.
"""

import logging
import random
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from rendezvous import _core
from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import (
    RendezvousConnectionError,
    StoreConnectionError,
    StoreRestartedError,
    StoreTimeoutError,
)
from rendezvous._base.join_time import JoinTime
from rendezvous._base.threads import Background, Event
from rendezvous._coordination.beats import Beats
from rendezvous._coordination.by_server.view import view_of_joiner
from rendezvous._coordination.coordinator import Closure, NodeSetup, OwnView, Seat
from rendezvous._coordination.exchange import EXCHANGE_S_MIN
from rendezvous._coordination.run_view import RunView
from rendezvous._coordination.waiting import Progress

__all__ = ["Lookout", "Watch", "closure_of"]

_log = logging.getLogger(__name__)

# With more nodes, one looks who is there only as often as it says so.
_FEW_NODES = 64


def closure_of(status: _core.RunStatus) -> Closure:
    """How the run was closed, or has failed."""
    return Closure(status.close_reason or status.cause, status.failed)


class Lookout:
    """For one join: the nodes in the run, for the log and for the error at the deadline.

    Attributes:
        view: as of the last look.
    """

    def __init__(self, client: _core.RunClient, setup: NodeSetup, time: JoinTime) -> None:
        self._client = client
        self._exchange_s = setup.exchange_s
        self._expected = setup.expected
        self.progress = Progress(setup, time)
        self._time = time
        self._next = Deadline.after(0.0)
        self.view: RunView | None = None
        self.is_over = False

    @property
    def last(self) -> Deadline | None:
        """When to look for the last time: shortly before the deadline."""
        last = self._time.last_look
        return None if last.is_over else last

    def look_if_due(self) -> None:
        """At each heartbeat; with many nodes, only as often as the log gets a line."""
        if self._next.is_over:
            self.look()
            is_large = self.view is not None and self.view.counts.listed > _FEW_NODES
            self._next = self.progress.due if is_large else Deadline.after(0.0)

    def look(self) -> None:
        """Raises StoreErrors."""
        view = view_of_joiner(self._client, self._expected, Deadline.after(self._exchange_s))
        if view is not None and not self.is_over:
            self.view = view
            self.progress.tell(view)


class Watch(Background):
    """One node's background thread, for one process: a fork has none."""

    def __init__(self, client: _core.RunClient, setup: NodeSetup) -> None:
        self._client = client
        self._setup = setup
        self._interval_s = setup.settings.keep_alive_interval
        self._beats = Beats(setup, self._interval_s)
        self.view = OwnView()
        self._seat: Seat | None = None
        self._lookout: Lookout | None = None  # while it joins
        self._closure: Closure | None = None  # how the run was closed, as far as is known
        # A seat that the server no longer knows.
        self._doubted: Seat | None = None
        # Wakes the thread while it has no seat to listen for.
        self._changed = Event()
        # Held while the node's place is changed: the thread must not take it again behind the back
        # of a caller that gives it up. A signal's handler may do so in the middle of a request of
        # its own thread's.
        self._place = threading.RLock()
        super().__init__(f"rendezvous-heartbeat-{setup.run_id}", self._work)

    def ask_to_stop(self) -> None:
        """No further keep-alive is begun; the thread ends when what it waits for is over."""
        super().ask_to_stop()
        self._changed.set()

    def stop(self, deadline: Deadline) -> bool:
        """Stop for good: end what the thread waits for, and wait for its end."""
        if self.is_elsewhere:
            return True
        self.ask_to_stop()
        self._client.close()
        return super().stop(deadline)

    def begin_join(self, lookout: Lookout, deadline: Deadline) -> None:
        """The node joins until `take_seat` or `give_up`."""
        with self.holding_place(deadline):
            self._seat = None
            self._lookout = lookout
            self._changed.set()

    def wake(self) -> None:
        """The deadline of the current join may have changed."""
        self._changed.set()

    def take_seat(self, seat: Seat, changes: int, deadline: Deadline) -> None:
        """The node is in a complete round."""
        with self.holding_place(deadline):
            self._end_lookout()
            self._seat = seat
            # If it was closed before, a later start of the job has opened it.
            self.view, self._closure = OwnView(), None
            self._note(seat, changes, closed=False)
            self._changed.set()

    def give_up(self) -> None:
        """The node has no place, and does not want one."""
        self._end_lookout()
        self._seat = None

    def _end_lookout(self) -> None:
        if self._lookout is not None:
            self._lookout.is_over = True
        self._lookout = None

    @contextmanager
    def holding_place(self, deadline: Deadline) -> Iterator[None]:
        """Only the caller may change the node's place meanwhile."""
        if not self._place.acquire(timeout=deadline.at_least(EXCHANGE_S_MIN).left_s):
            raise RendezvousConnectionError(
                f"run {self._setup.run_id!r}: the server does not answer: an earlier request has "
                "not ended"
            )
        try:
            yield
        finally:
            self._place.release()

    def _holding_place_soon(self) -> AbstractContextManager[None]:
        """For the thread, which never waits longer than one exchange takes."""
        return self.holding_place(Deadline.after(self._setup.exchange_s))

    def _work(self, stop: Event) -> None:
        due = Deadline.after(self._beats.pause_s())
        while not stop.is_set():
            try:
                if not due.is_over and not self._wait_for_news(stop, due):
                    continue
                if stop.is_set():
                    return
                self._beat(stop)
            except Exception as error:  # noqa: BLE001
                # Whatever it is, the next beat may go well; without any, the others give us up.
                if stop.is_set():
                    return
                self._beats.outage.note(error)
            else:
                self._beats.outage.note(None)
            due = Deadline.after(self._beats.pause_s())
            if self._beats.outage.is_on:
                stop.wait(due.left_s)

    def _wait_for_news(self, stop: Event, due: Deadline) -> bool:
        """Wait until the next beat is due, or something happens. True: a beat is needed now."""
        seat = self._seat
        if seat is None:
            self._wait_without_seat(due)
            return due.is_over
        view = self.view
        try:
            news = self._client.subscribe(seat.round, view.changes, view.closed, due.left_s)
        except (StoreConnectionError, StoreTimeoutError):
            # A new connection does not know the node, and a new server neither; an answer may only
            # be late. The beat finds out. A little scatter, as all nodes see it at once.
            stop.wait(self._interval_s * random.uniform(0.0, 0.05))  # noqa: S311
            return True
        if not news.active and view.role == "active":
            # Of the seat that was asked about: the caller may have got another one meanwhile.
            self._doubted = seat
            return self._seat is seat
        if news.closed and self._closure is None:
            self._closure = closure_of(self._client.status(self._setup.exchange_s))
        if view.closed and not news.closed and news.active:
            # The server has forgotten it, in a restart. A closed run never opens again, but for a
            # later start of the job, and then this node has no place any more.
            closure = self._closure or Closure()
            self._client.close_run(self._setup.exchange_s, closure.reason, closure.do_not_restart)
        with self._holding_place_soon():
            if self._seat is seat and not stop.is_set():
                self._note(seat, news.changes, news.closed, view.role)
        return due.is_over

    def _wait_without_seat(self, due: Deadline) -> None:
        lookout = self._lookout
        last = None if lookout is None else lookout.last
        if self._changed.wait(due.or_sooner(last).left_s):
            self._changed.clear()
        elif lookout is not None and last is not None and last.is_over:
            lookout.look()

    def _beat(self, stop: Event) -> None:
        seat, lookout = self._seat, self._lookout
        in_doubt, self._doubted = seat is not None and self._doubted is seat, None
        kept = self.keep_alive(Deadline.after(self._setup.exchange_s))
        if seat is None:
            # While it joins, the JOIN itself finds out that the node is not known.
            if lookout is not None:
                lookout.look_if_due()
            return
        with self._holding_place_soon():
            if self._seat is not seat or stop.is_set():
                return
            if kept.known:
                # Listed, but in another part: it learns that as a change.
                role = "absent" if in_doubt else self.view.role
                self._note(seat, max(kept.changes, int(in_doubt)), kept.closed, role)
            elif self.view.role == "active":
                self._resume(seat)

    def keep_alive(self, deadline: Deadline) -> _core.RunKeptAlive:
        """Send a heartbeat; returns whether the server knows the node on this connection."""
        try:
            return self._client.keep_alive(deadline.left_s)
        except StoreRestartedError as error:
            _log.warning("run %r: %s", self._setup.run_id, error)
            return self._client.keep_alive(deadline.left_s)

    def _resume(self, seat: Seat) -> None:
        answer = self._client.resume(seat.round, seat.rank, seat.world_size, self._setup.exchange_s)
        if answer.taken:
            _log.info(
                "run %r: %s has its place in round %d on a new connection",
                self._setup.run_id,
                self._setup.node.addr,
                seat.round,
            )
            self._note(seat, answer.changes, answer.closed)
        else:
            _log.warning(
                "run %r: %s has lost its place in round %d: its heartbeats did not arrive, or "
                "the others went on without it",
                self._setup.run_id,
                self._setup.node.addr,
                seat.round,
            )
            self._note(seat, max(1, answer.changes), answer.closed, "absent")

    def _note(self, seat: Seat, changes: int, closed: bool, role: str = "active") -> None:
        self.view = OwnView(
            round=seat.round,
            role=role,
            # It never opens again; and this node may have closed it since the server answered.
            closed=closed or self.view.closed,
            my_round=seat.round,
            changes=changes,
        )

    def close_run(self, closure: Closure, deadline: Deadline) -> None:
        """Close it, and keep in mind how. Raises StoreErrors."""
        self._client.close_run(deadline.left_s, closure.reason, closure.do_not_restart)
        self._closure = closure
        self.view = replace(self.view, closed=True)
