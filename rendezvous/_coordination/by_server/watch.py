"""What goes on in the background of a node whose run is kept by the store's server: one thread.

It sends the keep-alives, and between them waits for the server's word that something changed; it
takes the node's place again when the connection or the server is a new one; while the node joins,
it says in the log who is there. Owns the node's view and its seat. Knows no rule.
"""

import logging
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from rendezvous import _core
from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import (
    RendezvousConnectionError,
    StoreConnectionError,
    StoreRestartedError,
    StoreTimeoutError,
)
from rendezvous._base.threads import Background
from rendezvous._coordination.beats import Beats
from rendezvous._coordination.by_server.census import look_at
from rendezvous._coordination.coordinator import NodeSetup, Seat, View
from rendezvous._coordination.waiting import Progress, Standing

__all__ = ["Watch"]

_log = logging.getLogger(__name__)

# How long before a join's deadline the node looks once more who is there: at the deadline, all who
# gave up are gone.
_LAST_LOOK_S = 0.15
# What waiting for the node's place gets even at a deadline.
_PLACE_S_MIN = 0.05
# With more nodes, one looks who is there only as often as it says so.
_FEW_NODES = 64


class Watch:
    """One node's background. Made for one process: a fork has none."""

    def __init__(self, client: _core.RunClient, setup: NodeSetup) -> None:
        self._client = client
        self._setup = setup
        self._interval_s = setup.settings.keep_alive_interval
        self._beats = Beats(setup, self._interval_s)
        self.view = View()
        # Who was there when the node that joins looked last.
        self.standing: Standing | None = None
        self._seat: Seat | None = None
        self._progress: Progress | None = None
        # While it joins: when it next looks who is there, and when for the last time.
        self._next_look = Deadline.after(0.0)
        self._last_look = Deadline.after(0.0)
        # A seat that the server no longer knows.
        self._doubted: Seat | None = None
        # Wakes the thread while it has no seat to listen for.
        self._changed = threading.Event()
        # Held while the node's place is changed: the thread must not take it again behind the back
        # of a caller that gives it up. A signal's handler may do so in the middle of a request of
        # its own thread's.
        self._place = threading.RLock()
        self._background = Background(f"rendezvous-heartbeat-{setup.run_id}", self._run)

    @property
    def is_running(self) -> bool:
        """Whether keep-alives are sent, from this process."""
        return self._background.is_running

    def start(self) -> None:
        """Start, unless it runs."""
        self._background.start()

    def ask_to_stop(self) -> None:
        """No further keep-alive is begun; the thread ends when what it waits for is over."""
        self._background.ask_to_stop()
        self._changed.set()

    def stop(self, deadline: Deadline) -> None:
        """Stop, end what the thread waits for, and wait for its end. For good."""
        if self._background.is_elsewhere:
            return
        self.ask_to_stop()
        self._client.close()
        self._background.stop(deadline)

    def begin_join(self, progress: Progress, deadline: Deadline) -> None:
        """The node joins until `take_seat` or `give_up`."""
        with self.holding_place(deadline):
            self._seat = None
            self.standing = None
            self._progress = progress
            self._next_look = Deadline.after(0.0)
            self.note_deadline(deadline)

    def note_deadline(self, deadline: Deadline) -> None:
        """By when the join that is under way ends."""
        self._last_look = deadline.ahead(min(_LAST_LOOK_S, deadline.left_s / 4))
        self._changed.set()

    def take_seat(self, seat: Seat, changes: int) -> None:
        """The node is in a complete round."""
        with self._place:
            self._progress = None
            self._seat = seat
            self._note(seat, changes, closed=False)
            self._changed.set()

    def give_up(self) -> None:
        """The node has no place, and asks for none."""
        self._progress = None
        self._seat = None

    @contextmanager
    def holding_place(self, deadline: Deadline) -> Iterator[None]:
        """The node's place is the caller's alone meanwhile."""
        if not self._place.acquire(timeout=deadline.at_least(_PLACE_S_MIN).left_s):
            raise RendezvousConnectionError(
                f"run {self._setup.run_id!r}: the server does not answer: a request that began "
                "before has not ended"
            )
        try:
            yield
        finally:
            self._place.release()

    def _run(self, stop: threading.Event) -> None:
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

    def _wait_for_news(self, stop: threading.Event, due: Deadline) -> bool:
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
        if view.closed and not news.closed:
            # The server has forgotten it, in a restart. A closed run never opens again.
            self._client.close_run(self._setup.exchange_s)
        with self._place:
            if self._seat is seat and not stop.is_set():
                self._note(seat, news.changes, news.closed, view.role)
        return due.is_over

    def _wait_without_seat(self, due: Deadline) -> None:
        progress = self._progress
        # Sought before the deadline of the join, so that it is known at the deadline.
        last = self._last_look if progress is not None else None
        if last is not None and last.is_over:
            last = None
        if self._changed.wait(due.or_sooner(last).left_s):
            self._changed.clear()
        elif progress is not None and last is not None and last.is_over:
            self._look(progress)

    def _beat(self, stop: threading.Event) -> None:
        seat, progress = self._seat, self._progress
        in_doubt, self._doubted = seat is not None and self._doubted is seat, None
        kept = self.keep_alive(Deadline.after(self._setup.exchange_s))
        if seat is None:
            # While it joins, the JOIN itself finds out that the node is not known.
            if progress is not None and self._next_look.is_over:
                self._look(progress)
                is_large = self.standing is not None and self.standing.nodes > _FEW_NODES
                self._next_look = Deadline.after(Progress.interval_s() if is_large else 0.0)
            return
        with self._place:
            if self._seat is not seat or stop.is_set():
                return
            if kept.known:
                # Listed, but in another part: it learns that as a change.
                role = "absent" if in_doubt else self.view.role
                self._note(seat, max(kept.changes, int(in_doubt)), kept.closed, role)
            elif self.view.role == "active":
                self._resume(seat)

    def keep_alive(self, deadline: Deadline) -> _core.RunKeptAlive:
        """A sign of life, and whether the server knows the node on this connection."""
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
                "run %r: %s has lost its place in round %d: its heartbeats did not get through, or "
                "the others went on without it",
                self._setup.run_id,
                self._setup.node.addr,
                seat.round,
            )
            self._note(seat, max(1, answer.changes), answer.closed, "absent")

    def _note(self, seat: Seat, changes: int, closed: bool, role: str = "active") -> None:
        self.view = View(
            round=seat.round,
            role=role,
            # It never opens again; and this node may have closed it since the server answered.
            closed=closed or self.view.closed,
            my_round=seat.round,
            changes=changes,
        )

    def note_closed(self) -> None:
        """This node has closed the run."""
        self.view = replace(self.view, closed=True)

    def _look(self, progress: Progress) -> None:
        standing = look_at(
            self._client, self._setup.expected, Deadline.after(self._setup.exchange_s)
        )
        if standing is not None and self._progress is progress:
            self.standing = standing
            progress.tell(standing)
