"""The thread that keeps a node alive in the group, and what is known of the group fresh.

Owns the thread and nothing else. It belongs to the process that started it: a fork has none.
"""

import threading

from rendezvous import _core
from rendezvous._base.deadline import Deadline
from rendezvous._base.threads import Background
from rendezvous._coordination.beats import Beats
from rendezvous._coordination.coordinator import NodeSetup
from rendezvous._coordination.sync import StateSync

__all__ = ["Heartbeat"]

# Between two looks, whatever is due.
_LOOK_S_MIN = 0.05


class Heartbeat:
    """Sends a node's keep-alives, a little more often than each interval of its settings."""

    def __init__(self, sync: StateSync, setup: NodeSetup) -> None:
        self._sync = sync
        self._node = setup.node
        self._exchange_s = setup.exchange_s
        self._beats = Beats(setup, setup.settings.keep_alive_interval)
        self._background = Background(f"rendezvous-heartbeat-{setup.run_id}", self._run)

    @property
    def is_running(self) -> bool:
        """Whether keep-alives are sent, from this process."""
        return self._background.is_running

    def start(self) -> None:
        """Start, unless it runs."""
        self._background.start()

    def ask_to_stop(self) -> None:
        """No further keep-alive is begun; one that is under way ends by itself."""
        self._background.ask_to_stop()

    def stop(self, deadline: Deadline) -> None:
        """Stop, and wait for the thread to end."""
        self._background.stop(deadline)

    def _run(self, stop: threading.Event) -> None:
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
