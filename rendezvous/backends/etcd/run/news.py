"""What one node has heard of its run on etcd, and where it stands itself.

Written by the thread that listens (run_watch.py), read and waited for by the one that joins. Sends
nothing: the lock is held for a moment only.
"""

import threading
from collections.abc import Callable
from typing import TypeAlias

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import RendezvousStateError
from rendezvous._coordination.coordinator import OwnView, Seat
from rendezvous.backends.etcd.run.keys import Summary

__all__ = ["Heard", "News"]

# All that who joins waits for: what differs is new.
Heard: TypeAlias = tuple[Summary | None, int, bool, RendezvousStateError | None]


class News:
    """One node's.

    Args:
        has_lease: whether the node has a place, as far as is known.

    Attributes:
        summary: what was published last; None: nothing yet.
        broken: why what is published cannot be read.
        losses: how often the node's place was lost.
        is_cut_off: whether etcd did not answer the last time.
        view: what follows from all this, and from the seat that it took.
        seat: in a complete round; None: it is in none, or asks for the next one.
    """

    def __init__(self, has_lease: Callable[[], bool]) -> None:
        self._has_lease = has_lease
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self.summary: Summary | None = None
        self.broken: RendezvousStateError | None = None
        self.losses = 0
        self.is_cut_off = False
        self.view = OwnView()
        self.seat: Seat | None = None

    @property
    def heard(self) -> Heard:
        return self.summary, self.losses, self.is_cut_off, self.broken

    def wait(self, heard: Heard, is_over: Callable[[], bool], until: Deadline) -> None:
        """Until something else is heard, or it is over, or the time has come."""
        with self._lock:
            self._changed.wait_for(lambda: self.heard != heard or is_over(), until.left_s)

    def wake(self) -> None:
        """Who waits looks whether it is over."""
        with self._lock:
            self._changed.notify_all()

    def take_seat(self, seat: Seat | None) -> None:
        with self._lock:
            self.seat = seat
            if seat is not None:
                # It was closed before, if at all, and a later start of the job has opened it.
                self.view = OwnView()
            self._update()

    def note_closed(self) -> None:
        """This node has closed the run, or has seen that it is."""
        with self._lock:
            self._update(closed=True)

    def note_published(
        self, summary: Summary | None, broken: RendezvousStateError | None = None
    ) -> None:
        """broken: it cannot be read; then what was published before still holds."""
        with self._lock:
            self.summary = self.summary if broken else summary
            self.broken = broken
            self._update()

    def note_nothing_published(self) -> None:
        with self._lock:
            self.summary = None
            self._update()

    def note_contact(self, *, is_cut_off: bool) -> None:
        if is_cut_off != self.is_cut_off:
            with self._lock:
                self.is_cut_off = is_cut_off
                self._changed.notify_all()

    def note_alive(self) -> None:
        """The node has given a sign of life, in the place that it has."""
        with self._lock:
            self._update()

    def note_loss(self) -> None:
        """The node's place is gone."""
        with self._lock:
            self.losses += 1
            # Etcd may have lost all of it, and count its revisions anew.
            self.summary = None
            self._update()

    def _update(self, closed: bool = False) -> None:
        """Called with the lock."""
        summary, seat = self.summary or Summary(), self.seat
        # It never opens again, and this node may know before the leader does.
        closed = closed or summary.closed or self.view.closed
        if seat is None:
            self.view = OwnView(round=summary.round, closed=closed)
        else:
            changes = summary.changes
            is_active = self._has_lease() and summary.complete and summary.round == seat.round
            self.view = OwnView(
                round=summary.round,
                role="active" if is_active else "absent",
                closed=closed,
                my_round=seat.round,
                changes=changes if is_active else max(1, changes),
            )
        self._changed.notify_all()
