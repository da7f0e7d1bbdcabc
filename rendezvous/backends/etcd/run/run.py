"""The rulebook run by one node that all elect: each node writes one small key, and reads one seat.

Translates between what a handler asks (_coordination/coordinator.py) and what is written (keys.py).
What goes on in the background is run_watch.py's. Knows no rule. Called from the handler's caller's
thread.
"""

from functools import partial

from rendezvous import _core
from rendezvous._base.deadline import Deadline, now_s
from rendezvous._base.join_time import JoinTime
from rendezvous._coordination.coordinator import (
    Closure,
    Coordinator,
    Ending,
    NodeSetup,
    OwnView,
    Seat,
    closure_of_group,
    is_disturbed,
)
from rendezvous._coordination.exchange import Exchange
from rendezvous._coordination.join import join
from rendezvous._coordination.run_view import RunView, view_of_group
from rendezvous._coordination.waiting import Progress
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.client.lease import KeptLease
from rendezvous.backends.etcd.run.election import Election
from rendezvous.backends.etcd.run.join import EtcdJoining
from rendezvous.backends.etcd.run.keys import RunKeys, Summary, Wish
from rendezvous.backends.etcd.run.leader.leader import read_run
from rendezvous.backends.etcd.run.lease_keeper import LeaseKeeper
from rendezvous.backends.etcd.run.news import News
from rendezvous.backends.etcd.run.place import Place
from rendezvous.backends.etcd.run.run_watch import RunWatch
from rendezvous.backends.etcd.run.view import read_group

__all__ = ["EtcdRun"]

# Of the nodes of a larger run, nobody is asked for a sign of life.
_ASKED_MAX = 64
_SILENCE_LOOK_S = 0.5


class EtcdRun(Coordinator):
    """One node's access to a group whose leader is elected over etcd."""

    def __init__(
        self, client: EtcdClient, keys: RunKeys, setup: NodeSetup, kept: KeptLease
    ) -> None:
        self._client = client
        self._keys = keys
        self._setup = setup
        self._exchange = Exchange(setup)
        place = Place(client, keys, setup, kept)
        self._place = place
        self._news = News(lambda: place.lease != 0)
        self._election = Election(client, keys, setup, place, kept)
        keeper = LeaseKeeper(setup, place)
        super().__init__(RunWatch(client, keys, setup, self._news, keeper, self._election, kept))

    @property
    def view(self) -> OwnView:
        return self._news.view

    def is_intact(self, deadline: Deadline) -> bool:
        summary = self._news.summary
        return self.view.role == "active" and summary is not None and summary.lost == 0

    def join(self, after_round: int, time: JoinTime) -> Seat:
        self._news.take_seat(None)
        progress = Progress(self._setup, time)
        joining = EtcdJoining(
            self._client,
            self._keys,
            self._setup,
            self._place,
            self._news,
            self._election,
            progress,
            after_round,
            lambda: self.is_running,
        )
        seat = join(self._setup, joining, progress, time)
        self._news.take_seat(seat)
        return seat

    def leave(self, failed: bool, deadline: Deadline) -> bool:
        self._news.take_seat(None)
        self._exchange.patiently(lambda in_time: self._place.give_up(failed, in_time), deadline)
        self.release(deadline)
        # Who waits for a job's end is told by the leader.
        return False

    def give_up(self, ending: Ending, deadline: Deadline) -> str:
        self._news.take_seat(None)
        self._exchange.patiently(
            lambda in_time: self._place.give_up(True, in_time, ending), deadline
        )
        try:
            return self._exchange.ask(self._group, deadline).cause
        finally:
            self.release(deadline)

    def release(self, deadline: Deadline) -> None:
        # It tells the others that this node went, and lets another one lead.
        if self._election.wait_for_end(deadline):
            self._place.release(deadline)
        self._client.close()

    def _group(self, deadline: Deadline) -> _core.Group:
        return read_group(self._client, self._keys, deadline)

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
            leases = self._exchange.ask(look, deadline)
            if leases is None:
                return True
            if not any(self._exchange.ask(partial(silent, each), deadline) for each in leases):
                return False
            if deadline.is_over:
                return True
            deadline.sleep(_SILENCE_LOOK_S)

    def close(self, deadline: Deadline, closure: Closure) -> None:
        self._exchange.patiently(lambda in_time: self._place.close_run(in_time, closure), deadline)
        self._news.note_closed()

    def closure(self, deadline: Deadline) -> Closure:
        return closure_of_group(self._exchange.ask(self._group, deadline))

    def look(self, deadline: Deadline) -> None:
        def read(deadline: Deadline) -> bool:
            if self._client.range(self._keys.closed, keys_only=True, deadline=deadline).kvs:
                return True
            found = self._client.range(self._keys.round, deadline=deadline).first
            return found is not None and Summary.decode(found.value).closed

        if self._exchange.ask(read, deadline):
            self._news.note_closed()

    def census(self, deadline: Deadline) -> RunView:
        group = self._exchange.patiently(self._group, deadline)
        return view_of_group(group, now_s(), "leader", self._setup.node)

    def is_deserted(self, deadline: Deadline) -> bool:
        def has_few(deadline: Deadline) -> bool:
            nodes = self._client.range(*self._keys.nodes, count_only=True, deadline=deadline)
            return nodes.count <= _ASKED_MAX

        # All nodes of a job ask at its end: of many who are still there, nobody reads the names.
        return self._exchange.ask(has_few, deadline) and super().is_deserted(deadline)
