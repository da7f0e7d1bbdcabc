"""The rulebook run by each node, over a state that a backend replaces by compare-and-set.

Combines the node's copy of the state (sync.py), joining (join.py) and the heartbeat (heartbeat.py),
which has the thread. Knows no rule and no backend's format.
"""

from time import time_ns

from rendezvous import _core
from rendezvous._base.backend import RendezvousBackend
from rendezvous._base.deadline import Deadline
from rendezvous._base.join_time import JoinTime
from rendezvous._coordination.by_state.heartbeat import Heartbeat
from rendezvous._coordination.by_state.join import StateJoining
from rendezvous._coordination.by_state.pace import LOOK_S_MAX
from rendezvous._coordination.by_state.sync import StateSync
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
from rendezvous._coordination.join import join
from rendezvous._coordination.run_view import RunView, view_of_group
from rendezvous._coordination.waiting import Progress

__all__ = ["StoreRun"]


class StoreRun(Coordinator):
    """One node's access to a group whose state is in a store."""

    # Nodes that wait for a job's end are dismissed at once when it comes, but know it only when
    # they look.
    dismissal_s = 1.5 * LOOK_S_MAX

    def __init__(self, backend: RendezvousBackend, setup: NodeSetup) -> None:
        self._setup = setup
        self._node = setup.node
        self._is_gone = setup.store_is_gone
        self._interval_s = setup.settings.keep_alive_interval
        self._sync = StateSync(backend, setup.node, setup.run_id, setup.exchange_s)
        super().__init__(Heartbeat(self._sync, setup))

    @property
    def view(self) -> OwnView:
        return self._sync.view

    def is_intact(self, deadline: Deadline) -> bool:
        return self._sync.is_intact()

    def join(self, after_round: int, time: JoinTime) -> Seat:
        joining = StateJoining(self._setup, self._sync, after_round, lambda: self.is_running)
        return join(self._setup, joining, Progress(self._setup, time), time)

    def leave(self, failed: bool, deadline: Deadline) -> bool:
        def operation(group: _core.Group, now_s: float) -> bool:
            others_wait = bool(group.waiting or group.spares)
            group.leave(self._node, failed, now_s)
            return others_wait

        return self._sync.run_patiently(operation, deadline, self._is_gone)

    def give_up(self, ending: Ending, deadline: Deadline) -> str:
        def operation(group: _core.Group, now_s: float) -> str:
            group.give_up(
                self._node,
                ending.exit_code,
                ending.unix_ms,
                ending.last_line,
                now_s,
                ending.do_not_restart,
            )
            return group.cause

        return self._sync.run_patiently(operation, deadline, self._is_gone)

    def is_disturbed(self, deadline: Deadline) -> bool:
        """There is no connection to watch: a living node has sent a heartbeat since the
        question."""
        first: dict[_core.Node, int | None] | None = None

        def look(group: _core.Group, now_s: float) -> dict[_core.Node, int | None] | None:
            del now_s
            if is_disturbed(group, self._node):
                return None
            others = (node for node in group.participants if node != self._node)
            return {node: group.beats(node) for node in others}

        while True:
            beats = self._sync.run(look, deadline)
            if beats is None:
                return True
            first = beats if first is None else first
            if not any(first.get(node) == beat for node, beat in beats.items()):
                return False
            if deadline.is_over:
                return True
            deadline.sleep(self._interval_s / 8)

    def close(self, deadline: Deadline, closure: Closure) -> None:
        unix_ms = time_ns() // 1_000_000
        self._sync.run_patiently(
            lambda group, _: group.close(closure.reason, unix_ms, closure.do_not_restart), deadline
        )

    def closure(self, deadline: Deadline) -> Closure:
        return self._sync.run(lambda group, _: closure_of_group(group), deadline)

    def look(self, deadline: Deadline) -> None:
        self._sync.run(lambda _, __: None, deadline)

    def census(self, deadline: Deadline) -> RunView:
        return self._sync.run_patiently(
            lambda group, now_s: view_of_group(group, now_s, "store", self._node), deadline
        )
