"""A handler that tells of what happens to its node, and looks whether its machine is fit.

What is told is _base/events.py's; what it means to be fit, _base/health.py's.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from rendezvous._base.deadline import Deadline, now_s
from rendezvous._base.errors import (
    RendezvousClosedError,
    RendezvousError,
    RendezvousTimeoutError,
    RendezvousUnhealthyError,
)
from rendezvous._base.events import Events
from rendezvous._base.health import check_health
from rendezvous._base.text import counted, node_text
from rendezvous._base.trace import round_span
from rendezvous._coordination.coordinator import Closure
from rendezvous._coordination.waiting import changes_text, closed_error
from rendezvous._node.notes import find_exclusions, note_exclusion
from rendezvous.handler import DynamicRendezvousHandler

if TYPE_CHECKING:
    from rendezvous._base.api import RendezvousInfo
    from rendezvous._base.events import OnEvent
    from rendezvous._base.health import HealthCheck

__all__ = ["ObservedHandler"]

_log = logging.getLogger(__name__)

# As the exit code of a command that nobody has started.
_UNFIT_CODE = 1
# Who came and went, for the log.
_ASKING_RANKS = 256
_ASK_S = 0.5


class ObservedHandler(DynamicRendezvousHandler):
    """A DynamicRendezvousHandler with events and a health check; see `observe`."""

    _events: Events
    _health_check: HealthCheck | None = None
    _joined_s = 0.0
    _has_told_of_changes = False

    def observe(self, on_event: OnEvent | None, health_check: HealthCheck | None) -> None:
        """Called once, before anything else.

        Args:
            on_event: called with an Event for each transition of this node.
            health_check: run before each round.
        """
        self._events = Events(self.get_run_id(), self.node.addr, on_event)
        self._health_check = health_check

    @property
    def events(self) -> Events:
        """For those who have more to tell of this node."""
        return self._events

    def next_rendezvous(self) -> RendezvousInfo:
        """As that of every handler; after the health check."""
        self._lifetime.check()
        self._check_health()
        events = self._events
        events.emit("joining")
        begun_s = now_s()
        try:
            with round_span(self.get_run_id(), self.node.addr) as span:
                info = super().next_rendezvous()
                span.note(info)
        except BaseException as error:
            self._say_more(error)
            why = str(error) if isinstance(error, RendezvousError) else repr(error)
            events.emit("join_failed", why, now_s() - begun_s, error=type(error).__name__)
            raise
        events.round, events.rank, events.world_size = info.round, info.rank, info.world_size
        self._joined_s, self._has_told_of_changes = now_s(), False
        where = info.bootstrap_store_info
        events.emit(
            "joined",
            duration_s=self._joined_s - begun_s,
            master_addr=where.master_addr,
            master_port=where.master_port,
        )
        return info

    def num_nodes_waiting(self) -> int:
        """As that of every handler."""
        changes = super().num_nodes_waiting()
        if changes > 0 and not self._has_told_of_changes:
            self._has_told_of_changes = True
            why = self.changes_text() or f"{counted(changes, 'node')} came or went"
            self._events.emit("changed", why, self._round_s())
        return changes

    def changes_text(self) -> str:
        """Which nodes came and went since the round was complete, if that is known at once.

        Of a very large round, only the first ranks ask.
        """
        if self._events.rank >= _ASKING_RANKS:
            return ""
        with suppress(RendezvousError):
            return changes_text(self._coordinator.changed_nodes(Deadline.after(_ASK_S)))
        return ""

    def leave(self, failed: bool = False) -> None:
        """As that of every handler."""
        was_listed = self._membership.may_be_listed
        super().leave(failed)
        if was_listed:
            self._events.emit("left", "failed" if failed else "done", self._round_s())

    def give_up(
        self, exit_code: int, last_line: str | bytes = b"", *, do_not_restart: bool = False
    ) -> str:
        """As that of every handler."""
        was_listed = self._membership.may_be_listed
        cause = super().give_up(exit_code, last_line, do_not_restart=do_not_restart)
        if not was_listed:
            return cause
        line = last_line if isinstance(last_line, str) else last_line.decode(errors="replace")
        why = f"exit code {exit_code}{': ' if line else ''}{line}"
        details = {"root_cause": cause, "do_not_restart": do_not_restart}
        self._events.emit("gave_up", why, self._round_s(), **details)
        return cause

    def set_closed(self, reason: str = "", *, do_not_restart: bool = False) -> None:
        """As that of every handler; the reason is for those who are sent away."""
        super().set_closed(reason, do_not_restart=do_not_restart)
        self._events.emit("closed", reason, do_not_restart=do_not_restart)

    @property
    def was_closed(self) -> bool:
        """Whether the run is known to be closed: as `is_closed`, without asking the backend."""
        return self._coordinator.view.closed

    def closed_error(self) -> RendezvousClosedError:
        """The error of a node whose run was closed while it took part; it says why, if known."""
        closure = Closure()
        with suppress(RendezvousError):
            closure = self._closure()
        return closed_error(self.get_run_id(), closure)

    def shutdown(self) -> bool:
        """As that of every handler."""
        was_listed = self._lifetime.is_on and self._membership.may_be_listed
        told = super().shutdown()
        if was_listed:
            self._events.emit("left", "done" if told else "cannot tell the other nodes")
        return told

    def _round_s(self) -> float | None:
        return now_s() - self._joined_s if self._joined_s else None

    def _check_health(self) -> None:
        if self._health_check is None:
            return
        begun_s = now_s()
        try:
            check_health(self._health_check, Deadline.after(self._timeout.join_s))
        except RendezvousUnhealthyError as error:
            self._events.emit("excluded", error.reason, now_s() - begun_s)
            _log.error("run %r: %s", self._run_id, error)
            is_final, was_listed = error.do_not_restart, self._membership.may_be_listed
            with suppress(RendezvousError):
                if was_listed:
                    self.give_up(_UNFIT_CODE, error.reason, do_not_restart=is_final)
                elif is_final:
                    reason = f"node {node_text(self._node)}: {error.reason}"
                    self.set_closed(reason, do_not_restart=True)
            if not was_listed and self._connection is not None:
                note_exclusion(self._connection.control, self._run_id, self._node, error.reason)
            raise

    def _say_more(self, error: BaseException) -> None:
        """What others have said of it in words."""
        if self._connection is None:
            return
        store, more = self._connection.control, ""
        if isinstance(error, RendezvousTimeoutError):
            error.excluded = find_exclusions(store, self._run_id)
            if error.excluded:
                more = f". Nodes that do not take part: {'; '.join(error.excluded)}"
        if more:
            error.args = (f"{error}{more}", *error.args[1:])
