"""The background thread of a node whose run is kept on etcd.

It watches what the leader publishes (news.py), and between two changes lets the lease be kept
(lease_keeper.py) and the node stand for election (election.py). Knows no rule of a rendezvous.
"""

import logging
import random

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import RendezvousStateError
from rendezvous._base.patience import Outage
from rendezvous._base.threads import Background, Event
from rendezvous._coordination.coordinator import NodeSetup
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.client.lease import KeptLease
from rendezvous.backends.etcd.client.watch import CompactedError, Watch
from rendezvous.backends.etcd.client.wire import KeyValue
from rendezvous.backends.etcd.run.election import Election
from rendezvous.backends.etcd.run.keys import RunKeys, Summary
from rendezvous.backends.etcd.run.lease_keeper import LeaseKeeper
from rendezvous.backends.etcd.run.news import News

__all__ = ["RunWatch"]

_log = logging.getLogger(__name__)


class RunWatch(Background):
    """One node's background thread, for one process: a fork has none.

    Args:
        kept: the lease of what is published, to which this node may add.
    """

    def __init__(  # noqa: PLR0917
        self,
        client: EtcdClient,
        keys: RunKeys,
        setup: NodeSetup,
        news: News,
        keeper: LeaseKeeper,
        election: Election,
        kept: KeptLease,
    ) -> None:
        self._client = client
        self._keys = keys
        self._setup = setup
        self._news = news
        self._keeper = keeper
        self._election = election
        self._kept = kept
        self._watch: Watch | None = None
        super().__init__(f"rendezvous-heartbeat-{setup.run_id}", self._work)
        self._outage = Outage(
            _log,
            "run %r: the watch of %s failed; retrying: %s",
            None,
            setup.run_id,
            setup.node.addr,
        )

    def start(self) -> None:
        """Start, unless it runs."""
        self._election.is_halted = False
        super().start()

    def ask_to_stop(self) -> None:
        """Send no further heartbeat. A term as leader goes on."""
        super().ask_to_stop()
        self._election.is_halted = True
        self._news.wake()
        watch = self._watch
        if watch is not None:
            watch.interrupt()

    def stop(self, deadline: Deadline) -> bool:
        """End all of it, without a word to anybody. For good."""
        if self.is_elsewhere:
            return True
        self.ask_to_stop()
        self._election.end_term()
        has_ended = super().stop(deadline)
        # The thread may have been elected while it was asked to stop.
        self._election.end_term()
        return self._election.wait_for_end(deadline) and has_ended

    def _work(self, stop: Event) -> None:
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
                self._news.note_contact(is_cut_off=True)
                stop.wait(random.uniform(0.1, 0.5))  # noqa: S311
            else:
                self._outage.note(None)
        self._client.close()

    def _follow(self, stop: Event) -> None:
        start, end = self._keys.watched
        found = self._client.range(start, end, deadline=Deadline.after(self._setup.exchange_s))
        self._news.note_contact(is_cut_off=False)
        there = {entry.key for entry in found.kvs}
        if self._keys.round not in there:
            self._news.note_nothing_published()
        for entry in found.kvs:
            self._take(entry, is_delete=False)
        if self._keys.leader not in there:
            self._election.note_vacancy(self._nodes)
        with self._client.watch([(start, end)], found.revision + 1) as watch:
            self._watch = watch
            try:
                self._listen(watch, stop)
            finally:
                self._watch = None

    def _listen(self, watch: Watch, stop: Event) -> None:
        self._keeper.put_off()
        while not stop.is_set():
            if self._keeper.due.is_over and not self._beat(stop):
                return  # to read everything again
            self._election.stand_if_due(self._keeper.interval_s)
            for event in watch.next(self._keeper.due.or_sooner(self._election.due)):
                self._take(event.kv, event.is_delete)

    def _beat(self, stop: Event) -> bool:
        """A sign of life; whether the node has its place still, as far as is known."""
        kept = self._keeper.beat(stop)
        self._news.note_contact(is_cut_off=kept == "not known")
        if kept == "not known":
            return True
        if kept == "lease lost":
            self._election.end_term()  # its key had the same lease
        if kept == "kept" or stop.is_set():
            self._news.note_alive()
            return True
        self._news.note_loss()
        seat = self._news.seat
        if seat is not None:
            _log.warning(
                "run %r: %s has lost its place in round %d: its heartbeats did not arrive, or "
                "its key was deleted",
                self._setup.run_id,
                self._setup.node.addr,
                seat.round,
            )
        return False

    def _take(self, entry: KeyValue, is_delete: bool) -> None:
        if entry.key == self._keys.leader:
            if is_delete:
                self._election.note_vacancy(self._nodes)
            else:
                self._election.note_leader(entry, self._nodes)
        elif entry.key == self._keys.round and not is_delete:
            self._kept.adopt(entry.lease)
            self._keeper.look_next_time()
            try:
                self._news.note_published(Summary.decode(entry.value))
            except RendezvousStateError as error:
                self._news.note_published(None, error)

    @property
    def _nodes(self) -> int:
        summary = self._news.summary
        return 0 if summary is None else summary.nodes
