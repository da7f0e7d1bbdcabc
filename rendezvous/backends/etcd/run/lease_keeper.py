"""Keeps a node's lease alive, and finds out when its place is lost. Has no thread of its own."""

from typing import Literal, TypeAlias

from rendezvous._base.deadline import Deadline
from rendezvous._base.threads import Event
from rendezvous._coordination.beats import Beats
from rendezvous._coordination.coordinator import NodeSetup
from rendezvous.backends.etcd.run.place import Place

__all__ = ["Kept", "LeaseKeeper"]

Kept: TypeAlias = Literal["kept", "key lost", "lease lost", "not known"]

# Leases have whole seconds, and at least two: to renew them more often is of no use.
_BEAT_S_MIN = 0.5


class LeaseKeeper:
    """One node's. Called by the thread that listens.

    Attributes:
        due: when the next sign of life is.
        interval_s: one must arrive within this time.
    """

    def __init__(self, setup: NodeSetup, place: Place) -> None:
        self._place = place
        self._exchange_s = setup.exchange_s
        self.interval_s = max(_BEAT_S_MIN, min(setup.settings.keep_alive_interval, place.ttl_s / 3))
        self._beats = Beats(setup, self.interval_s)
        self._looks = False
        self.put_off()

    def put_off(self) -> None:
        """The next sign of life is one pause away."""
        self.due = Deadline.after(self._beats.pause_s())

    def look_next_time(self) -> None:
        """Somebody went: the next sign of life finds out whether it is this node."""
        self._looks = True

    def beat(self, stop: Event) -> Kept:
        """A sign of life. stop: set when nobody is told any more that it failed."""
        looks, self._looks = self._looks, False
        try:
            kept: Kept = self._place.keep(looks, Deadline.after(self._exchange_s))
        except Exception as error:  # noqa: BLE001
            # Whatever it is, the next one may go well; without any, the others give us up.
            self._looks, kept = looks, "not known"
            if not stop.is_set():
                self._beats.outage.note(error)
        else:
            self._beats.outage.note(None)
        self.put_off()
        return kept
