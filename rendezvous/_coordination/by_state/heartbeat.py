"""The thread that keeps a node alive in the group, and the view of the group up to date."""

from rendezvous import _core
from rendezvous._base.deadline import Deadline
from rendezvous._base.threads import Background, Event
from rendezvous._coordination.beats import Beats
from rendezvous._coordination.by_state.sync import StateSync
from rendezvous._coordination.coordinator import NodeSetup

__all__ = ["Heartbeat"]

# Between two looks, whatever is due.
_LOOK_S_MIN = 0.05


class Heartbeat(Background):
    """Sends a node's keep-alives, a little more often than each interval of its settings."""

    def __init__(self, sync: StateSync, setup: NodeSetup) -> None:
        self._sync = sync
        self._node = setup.node
        self._exchange_s = setup.exchange_s
        self._beats = Beats(setup, setup.settings.keep_alive_interval)
        super().__init__(f"rendezvous-heartbeat-{setup.run_id}", self._work)

    def _work(self, stop: Event) -> None:
        while not stop.wait(self._pause_s()):
            try:
                self._sync.run(self._beat, Deadline.after(self._exchange_s))
            except Exception as error:  # noqa: BLE001
                # Whatever it is, the next beat may go well; without any, the others give us up.
                if stop.is_set():
                    return
                self._beats.outage.note(error)
            else:
                self._beats.outage.note(None)

    def _pause_s(self) -> float:
        """To the next beat; or until nodes that came to wait are to be told."""
        pause_s, look_s = self._beats.pause_s(), self._sync.look_s
        return pause_s if look_s is None else min(pause_s, max(_LOOK_S_MIN, look_s))

    def _beat(self, group: _core.Group, now_s: float) -> None:
        group.keep_alive(self._node, now_s)
