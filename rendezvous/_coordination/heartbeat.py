"""The thread that keeps a node alive in the group, and what is known of the group fresh.

Owns the thread and nothing else. It belongs to the process that started it: a fork has none.
"""

import logging
import os
import random
import threading

from rendezvous import _core
from rendezvous._base.deadline import Deadline
from rendezvous._base.threads import start_thread
from rendezvous._coordination.coordinator import NodeSetup
from rendezvous._coordination.sync import StateSync

__all__ = ["Heartbeat"]

_log = logging.getLogger(__name__)


class Heartbeat:
    """Sends a node's keep-alives, a little more often than each interval of its settings."""

    def __init__(self, sync: StateSync, setup: NodeSetup) -> None:
        self._sync = sync
        self._node = setup.node
        self._run_id = setup.run_id
        self._interval_s = setup.settings.keep_alive_interval
        self._exchange_s = setup.exchange_s
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._pid = os.getpid()

    @property
    def is_running(self) -> bool:
        """Whether keep-alives are sent, from this process."""
        return self._thread is not None and not self._stop.is_set() and self._pid == os.getpid()

    def start(self) -> None:
        """Start, unless it runs."""
        if self.is_running:
            return
        self._pid = os.getpid()
        self._stop = threading.Event()
        thread = threading.Thread(
            target=self._run,
            args=(self._stop,),
            name=f"rendezvous-heartbeat-{self._run_id}",
            daemon=True,
        )
        # Ctrl-C may come between these two: a thread that never started cannot be joined.
        start_thread(thread)
        self._thread = thread

    def ask_to_stop(self) -> None:
        """No further keep-alive is begun; one that is under way ends by itself."""
        self._stop.set()

    def stop(self, deadline: Deadline) -> None:
        """Stop, and wait for the thread to end."""
        self._stop.set()
        thread = self._thread
        if thread is None or self._pid != os.getpid() or thread is threading.current_thread():
            return
        thread.join(deadline.left_s)
        if not thread.is_alive():
            self._thread = None

    def _run(self, stop: threading.Event) -> None:
        failing = False
        while not stop.wait(self._pause_s(failing)):
            try:
                self._sync.run(self._beat, Deadline.after(self._exchange_s))
            except Exception as error:  # noqa: BLE001
                # Whatever it is, the next beat may go well; without any, the others give us up.
                if stop.is_set():
                    return
                if not failing:
                    _log.warning(
                        "run %r: the heartbeat of %s does not get through; it is tried again: %s",
                        self._run_id,
                        self._node.addr,
                        error,
                    )
                failing = True
            else:
                if failing:
                    _log.warning(
                        "run %r: heartbeats of %s get through again", self._run_id, self._node.addr
                    )
                failing = False

    def _pause_s(self, failing: bool) -> float:
        # Earlier than the interval, and scattered: the nodes of a round have started together.
        share = random.uniform(0.15, 0.3) if failing else random.uniform(0.7, 0.95)  # noqa: S311
        return self._interval_s * share

    def _beat(self, group: _core.Group, now_s: float) -> None:
        group.keep_alive(self._node, now_s)
