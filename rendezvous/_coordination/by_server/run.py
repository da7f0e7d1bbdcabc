"""The rulebook run by the store's server: a node sends one JOIN and gets one answer.

Translates between a handler's calls (../coordinator.py) and _core.RunClient. watch.py runs the
background thread. Knows no rule. Called from the handler's caller's thread.
"""

from dataclasses import replace

from rendezvous import _core
from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import RendezvousError, RendezvousFinishedError
from rendezvous._base.hosts import match_host
from rendezvous._base.join_time import JoinTime
from rendezvous._coordination.by_server.join import ServerJoining
from rendezvous._coordination.by_server.view import view_of_all, view_of_changes
from rendezvous._coordination.by_server.watch import Lookout, Watch, closure_of
from rendezvous._coordination.coordinator import (
    Closure,
    Coordinator,
    Ending,
    NodeSetup,
    OwnView,
    Seat,
)
from rendezvous._coordination.exchange import Exchange
from rendezvous._coordination.join import join
from rendezvous._coordination.run_view import RunView

__all__ = ["ServerRun"]

_SETTLE_S = 0.2


class ServerRun(Coordinator):
    """One node's access to a group that the store's server keeps."""

    def __init__(self, store: _core.TCPStore, setup: NodeSetup) -> None:
        self._setup = setup
        settings = setup.settings
        # A connection that broke says more than silence: one that lives is back at once.
        grace_s = settings.keep_alive_interval * settings.keep_alive_max_attempt / 3
        self._client = _core.RunClient(
            store, setup.run_id, setup.node, settings, grace_s, setup.facts
        )
        self._exchange = Exchange(setup)
        self._watch = Watch(self._client, setup)
        super().__init__(self._watch)
        # In the last complete round, until the node leaves.
        self._seat: Seat | None = None
        # The server has dismissed the node, and may be gone by now: there is nothing to leave.
        self._is_dismissed = False

    @property
    def view(self) -> OwnView:
        return self._watch.view

    def join(self, after_round: int, time: JoinTime) -> Seat:
        self._is_dismissed = False
        lookout = Lookout(self._client, self._setup, time)
        self._watch.begin_join(lookout, time.deadline)
        joining = ServerJoining(
            self._setup,
            self._client,
            self._exchange,
            self._watch,
            lookout,
            after_round,
            self._seat,
        )
        try:
            self._seat = join(self._setup, joining, lookout.progress, time)
        except RendezvousFinishedError:
            self._is_dismissed = True
            raise
        return self._seat

    def leave(self, failed: bool, deadline: Deadline) -> bool:
        if self._is_dismissed:
            self._watch.give_up()
            return False
        with self._watch.holding_place(deadline):
            self._seat = None
            self._watch.give_up()
            self._exchange.last(
                lambda in_time: self._client.leave(failed, in_time.left_s), deadline
            )
        # Who waits for a job's end is told by the server, in the same moment.
        return False

    def give_up(self, ending: Ending, deadline: Deadline) -> str:
        with self._watch.holding_place(deadline):
            self._seat = None
            self._watch.give_up()
            return self._exchange.last(
                lambda in_time: self._client.give_up(
                    ending.exit_code,
                    ending.unix_ms,
                    ending.last_line,
                    in_time.left_s,
                    ending.do_not_restart,
                ),
                deadline,
            )

    def is_disturbed(self, deadline: Deadline) -> bool:
        # The end of a node reaches the server on another way than what broke by it came here.
        settled = deadline.sooner(_SETTLE_S)
        while True:
            status = self._status(deadline)
            is_lost = status.suspects > 0 or status.lost > status.gave_up
            if is_lost or status.waiting > 0 or status.role != "active":
                return True
            if settled.is_over:
                return False
            settled.sleep(_SETTLE_S)

    def close(self, deadline: Deadline, closure: Closure) -> None:
        self._exchange.patiently(lambda in_time: self._watch.close_run(closure, in_time), deadline)

    def closure(self, deadline: Deadline) -> Closure:
        return closure_of(self._status(deadline))

    def look(self, deadline: Deadline) -> None:
        status = self._status(deadline)
        self._watch.view = replace(self.view, closed=status.closed or self.view.closed)

    def census(self, deadline: Deadline) -> RunView:
        return self._exchange.patiently(
            lambda in_time: view_of_all(self._client, in_time), deadline
        )

    def changed_nodes(self, deadline: Deadline) -> RunView:
        return self._exchange.ask(lambda in_time: view_of_changes(self._client, in_time), deadline)

    def is_deserted(self, deadline: Deadline) -> bool:
        status = self._status(deadline)
        return status.participants + status.waiting + status.spares == 0

    def reached_at(self, deadline: Deadline) -> str:
        # As the nodes' connections show it. Who is no machine of that address has come through a
        # tunnel, which ends beside the server.
        reached = self._status(deadline).reached_at
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
            status = self._status(deadline)
        except RendezvousError:
            return True  # who asks has a deadline of its own
        return status.role == "active" and status.round == view.my_round and status.lost == 0

    def _status(self, deadline: Deadline) -> _core.RunStatus:
        return self._exchange.ask(lambda in_time: self._client.status(in_time.left_s), deadline)
