"""What goes on in the background of a node whose run is kept on etcd: one thread.

It keeps the node's lease alive, watches what the leader publishes, and stands for election when
there is no leader. Owns the node's view. Knows no rule of a rendezvous.
"""

import logging
import random
import threading

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import RendezvousStateError, StoreNoAnswerError
from rendezvous._base.patience import Outage
from rendezvous._base.threads import Background
from rendezvous._coordination.beats import Beats
from rendezvous._coordination.coordinator import NodeSetup, Seat, View
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.client.lease import KeptLease
from rendezvous.backends.etcd.client.watch import CompactedError, Watch
from rendezvous.backends.etcd.client.wire import KeyValue
from rendezvous.backends.etcd.run.keys import RunKeys, Summary
from rendezvous.backends.etcd.run.leader.leader import Leader
from rendezvous.backends.etcd.run.place import Place

__all__ = ["Follower"]

_log = logging.getLogger(__name__)

# Leases have whole seconds, and at least two: to renew them more often is of no use.
_BEAT_S_MIN = 0.5
# When a leader goes, its successor is soon found, and not by all nodes at once: about so many stand
# in the time that the news of the first takes.
_STAND_S_MIN = 0.02
_NODES_A_SECOND = 2_000


class Follower:
    """One node's background. Made for one process: a fork has none.

    Attributes:
        changed: notified whenever one of the following was replaced.
        summary: what was published last; None: nothing yet.
        broken: why what is published cannot be read.
        losses: how often the node's place was lost.
        is_cut_off: whether etcd did not answer the last time.
    """

    def __init__(
        self, client: EtcdClient, keys: RunKeys, setup: NodeSetup, place: Place, kept: KeptLease
    ) -> None:
        self._client = client
        self._keys = keys
        self._setup = setup
        self._place = place
        self._kept = kept
        self.changed = threading.Condition()
        self.summary: Summary | None = None
        self.broken: RendezvousStateError | None = None
        self.losses = 0
        self.is_cut_off = False
        self.view = View()
        self._seat: Seat | None = None
        self._has_leader = False
        self._stand_at: Deadline | None = None
        self._leader: Leader | None = None
        self._election = threading.RLock()  # a signal's handler may run in an exchange with etcd
        self._look = False
        self._watch: Watch | None = None
        self._background = Background(f"rendezvous-heartbeat-{setup.run_id}", self._run)
        self._beat_s = max(_BEAT_S_MIN, min(setup.settings.keep_alive_interval, place.ttl_s / 3))
        self._beats = Beats(setup, self._beat_s)
        self._outage = Outage(
            _log,
            "run %r: what %s follows does not get through; it is tried again: %s",
            None,
            setup.run_id,
            setup.node.addr,
        )

    @property
    def is_running(self) -> bool:
        return self._background.is_running

    @property
    def news(self) -> tuple[Summary | None, int, bool, RendezvousStateError | None]:
        """All of it that who joins waits for: what differs is new."""
        return self.summary, self.losses, self.is_cut_off, self.broken

    @property
    def leader(self) -> Leader | None:
        """This node's term, if it leads."""
        leader = self._leader
        return None if leader is None or leader.is_over else leader

    def start(self) -> None:
        """Start, unless it runs."""
        self._background.start()

    def ask_to_stop(self) -> None:
        """No further sign of life is begun. A term as leader goes on."""
        self._background.ask_to_stop()
        with self.changed:
            self.changed.notify_all()
        watch = self._watch
        if watch is not None:
            watch.interrupt()

    def stop(self, deadline: Deadline) -> None:
        """End all of it, without a word to anybody. For good."""
        if self._background.is_elsewhere:
            return
        self.ask_to_stop()
        if self._leader is not None:
            self._leader.stop()
        self._background.stop(deadline)
        # The thread may have been elected while it was asked to stop.
        leader = self._leader
        if leader is not None:
            leader.stop()
            leader.join(deadline)

    def take_seat(self, seat: Seat | None) -> None:
        """The node is in a complete round; None: it is in none, or asks for the next one."""
        with self.changed:
            self._seat = seat
            self._update()

    def note_closed(self) -> None:
        """This node has closed the run, or has seen that it is."""
        with self.changed:
            self._update(closed=True)

    def stand(self, deadline: Deadline) -> None:
        """Try to become the leader. Any thread may."""
        # Another thread may be asking, by a deadline of its own.
        if not self._election.acquire(timeout=deadline.left_s):
            raise StoreNoAnswerError(
                f"run {self._setup.run_id!r}: timeout: an election that began before has not ended"
            )
        try:
            if self.leader is not None or self._background.is_stopping:
                return
            fence = self._place.stand(deadline)
            if not fence:
                return
            leader = Leader(
                self._client,
                self._keys,
                self._place.name,
                fence,
                self._kept,
                self._setup.exchange_s,
            )
            leader.start()
            self._leader = leader
        finally:
            self._election.release()

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self._follow(stop)
            except CompactedError:
                continue
            except Exception as error:  # noqa: BLE001
                # Whatever it is, another attempt may go well; without any, the others give us up.
                if stop.is_set():
                    break
                self._outage.note(error)
                self._note_contact(is_cut_off=True)
                stop.wait(random.uniform(0.1, 0.5))  # noqa: S311
            else:
                self._outage.note(None)
        self._client.close()

    def _follow(self, stop: threading.Event) -> None:
        start, end = self._keys.watched
        found = self._client.range(start, end, deadline=Deadline.after(self._setup.exchange_s))
        self._note_contact(is_cut_off=False)
        self._has_leader = False
        if all(entry.key != self._keys.round for entry in found.kvs):
            with self.changed:
                self.summary = None
                self._update()
        for entry in found.kvs:
            self._take(entry, is_delete=False)
        if not self._has_leader:
            self._stand_soon()
        with self._client.watch([(start, end)], found.revision + 1) as watch:
            self._watch = watch
            try:
                self._listen(watch, stop)
            finally:
                self._watch = None

    def _listen(self, watch: Watch, stop: threading.Event) -> None:
        beat = Deadline.after(self._beats.pause_s())
        while not stop.is_set():
            if beat.is_over:
                losses = self.losses
                self._beat(stop)
                if self.losses != losses:
                    return  # to read everything again
                beat = Deadline.after(self._beats.pause_s())
            stand = self._stand_at
            if stand is not None and stand.is_over:
                self._stand_at = None
                self.stand(Deadline.after(self._setup.exchange_s))
                # Whoever won is seen soon; if nobody did, it is tried again.
                if not self._has_leader and self.leader is None:
                    self._stand_at = Deadline.after(self._beat_s)
            for event in watch.next(beat.or_sooner(self._stand_at)):
                self._take(event.kv, event.is_delete)

    def _beat(self, stop: threading.Event) -> None:
        """A sign of life."""
        look, self._look = self._look, False
        try:
            kept = self._place.keep(look, Deadline.after(self._setup.exchange_s))
        except Exception as error:  # noqa: BLE001
            self._look = look
            self._note_contact(is_cut_off=True)
            if not stop.is_set():
                self._beats.outage.note(error)
            return
        self._beats.outage.note(None)
        self._note_contact(is_cut_off=False)
        leader = self.leader
        if kept == "lease lost" and leader is not None:
            leader.stop()  # its key had the same lease
        with self.changed:
            if kept != "kept" and not stop.is_set():
                self.losses += 1
                # Etcd may have lost all of it, and count its revisions anew.
                self.summary = None
                if self._seat is not None:
                    _log.warning(
                        "run %r: %s has lost its place in round %d: its heartbeats did not get "
                        "through, or its key was deleted",
                        self._setup.run_id,
                        self._setup.node.addr,
                        self._seat.round,
                    )
            self._update()

    def _note_contact(self, is_cut_off: bool) -> None:
        if is_cut_off != self.is_cut_off:
            with self.changed:
                self.is_cut_off = is_cut_off
                self.changed.notify_all()

    def _take(self, entry: KeyValue, is_delete: bool) -> None:
        if entry.key == self._keys.leader:
            self._has_leader = not is_delete
            # Elected, and the answer that said so did not come: the office is still to be taken.
            is_vacant = not is_delete and self._place.is_own(entry) and self.leader is None
            if is_delete or is_vacant:
                self._stand_soon()
            else:
                self._stand_at = None
        elif entry.key == self._keys.round and not is_delete:
            self._kept.adopt(entry.lease)
            try:
                summary, broken = Summary.decode(entry.value), None
            except RendezvousStateError as error:
                summary, broken = None, error
            with self.changed:
                # Somebody went: whether it is this node that was given up is looked at soon.
                self._look = True
                self.summary = summary or self.summary
                self.broken = broken
                self._update()

    def _stand_soon(self) -> None:
        nodes = 0 if self.summary is None else self.summary.nodes
        pause_s = max(_STAND_S_MIN, nodes / _NODES_A_SECOND)
        self._stand_at = Deadline.after(random.uniform(0.0, pause_s))  # noqa: S311

    def _update(self, closed: bool = False) -> None:
        """Called with the lock."""
        summary, seat = self.summary or Summary(), self._seat
        # It never opens again, and this node may know before the leader does.
        closed = closed or summary.closed or self.view.closed
        if seat is None:
            self.view = View(round=summary.round, closed=closed)
        else:
            changes = summary.changes
            is_active = self._place.lease != 0 and summary.complete and summary.round == seat.round
            self.view = View(
                round=summary.round,
                role="active" if is_active else "absent",
                closed=closed,
                my_round=seat.round,
                changes=changes if is_active else max(1, changes),
            )
        self.changed.notify_all()
