"""What happens at the server, as server-sent events: for browsers that look on.

While somebody looks on, a thread asks the server four times a second what has happened since, and
hands each onlooker what it may see. A message's id is the serial of the last event in it, so that
who comes back gets what it missed; what it got twice has the same number twice.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from rendezvous._base.deadline import Deadline, now_s
from rendezvous._base.threads import Background, Event
from rendezvous._coordination.by_server.timeline import events_of
from rendezvous.handler.as_json import event_as_json
from rendezvous.monitor.asker import Asker, UnansweredError
from rendezvous.monitor.status import Report, is_seen, run_key, summaries_of, totals_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rendezvous.monitor.access import Scope

__all__ = ["Feed", "Onlooker"]

ONLOOKERS_MAX = 32
_TICK_S = 0.25
# Without news, that the server still answers is news.
_QUIET_S = 2.0
# Longer ones end, so that who may no longer look does not.
_STREAM_S = 3600.0
# Messages that an onlooker has not taken. It comes back and asks for what it missed.
_UNTAKEN_MAX = 64
# Of one run in one message: who sees a gap in the numbers asks for the whole run.
_EVENTS_MAX = 500
# Who missed more begins anew.
_MISSED_MAX = 5_000
_RUNS_MAX = 1_000
_END_S = 2.0


class Onlooker:
    """One stream: messages as they are sent, in order."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._untaken: deque[bytes] = deque()
        self.is_over = False

    def put(self, message: bytes) -> None:
        """Who takes too little is over."""
        with self._lock:
            if len(self._untaken) >= _UNTAKEN_MAX:
                self.is_over = True
            else:
                self._untaken.append(message)
            self._changed.notify_all()

    def end(self) -> None:
        """Nothing more comes."""
        with self._lock:
            self.is_over = True
            self._changed.notify_all()

    def take(self, within_s: float) -> bytes | None:
        """All that there is. None: nothing came."""
        with self._lock:
            self._changed.wait_for(lambda: self._untaken or self.is_over, within_s)
            taken, self._untaken = self._untaken, deque()
        return b"".join(taken) or None


class Feed:
    """Of one server. Any thread may call it."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        # Another one for each server: serials of two have nothing to do with each other.
        self._instance = secrets.token_hex(4)
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._onlookers: set[Onlooker] = set()
        # Of the last event that was handed out; none while nobody looks on.
        self._serial: int | None = None
        self._known: dict[tuple[str, str], dict[str, Any]] = {}
        self._thread = Background("rendezvous-monitor-feed", self._work)

    def start(self) -> None:
        """Raises StoreConnectionError when the system refuses a thread."""
        self._thread.start()

    def close(self) -> None:
        """Ends all streams."""
        self._thread.ask_to_stop()
        with self._lock:
            for onlooker in self._onlookers:
                onlooker.end()
            self._changed.notify_all()
        self._thread.stop(Deadline.after(_END_S))

    def stream(
        self, scope: Scope, last_id: str, write: Callable[[bytes], None], ends: Event
    ) -> None:
        """Write messages until the client is gone or has to come back. Raises OSError."""
        onlooker = Onlooker(scope)
        with self._lock:
            # Others may have come since `has_room` was asked.
            is_full = len(self._onlookers) >= ONLOOKERS_MAX
            if not is_full:
                self._onlookers.add(onlooker)
        if is_full:
            write(_message("trouble", None, {"error": "too many pages look on"}))
            return
        try:
            # It is listed already: what happens from now on comes twice rather than not at all.
            report = self._missed(last_id)
            write(b"retry: 1000\n\n" + self._hello(report, scope))
            with self._lock:
                if self._serial is None:
                    self._serial = report["serial"]
                    self._known = _by_key(report)
                self._changed.notify_all()
            deadline = Deadline.after(_STREAM_S)
            while not (ends.is_set() or onlooker.is_over or deadline.is_over):
                write(onlooker.take(_QUIET_S * 2) or b": \n\n")
        except UnansweredError as error:
            write(_message("trouble", None, {"error": str(error)}))
        finally:
            with self._lock:
                self._onlookers.discard(onlooker)
                if not self._onlookers:
                    self._serial = None

    @property
    def has_room(self) -> bool:
        """For one more onlooker."""
        with self._lock:
            return len(self._onlookers) < ONLOOKERS_MAX

    def _missed(self, last_id: str) -> Report:
        """A report with what has happened since; without, if that is too much, or not known."""
        instance, _, serial = last_id.partition("-")
        report = self._asker.ask(lambda server: server.report(None))
        if instance != self._instance or not (serial.isascii() and serial.isdecimal()):
            return report
        known = int(serial[:18])
        if not 0 <= report["serial"] - known <= _MISSED_MAX:
            return report
        return self._asker.ask(lambda server: server.report(known))

    def _hello(self, report: Report, scope: Scope) -> bytes:
        """All runs, and what was missed."""
        fields = {
            "server": totals_of(report, scope),
            "runs": summaries_of(report, scope)[:_RUNS_MAX],
            "events": _events(report, scope),
        }
        return _message("hello", self._id(report), fields)

    def _id(self, report: Report) -> str:
        return f"{self._instance}-{report['serial']}"

    def _work(self, stop: Event) -> None:
        quiet_since = now_s()
        while not stop.is_set():
            with self._lock:
                self._changed.wait_for(lambda: stop.is_set() or self._serial is not None)
                serial = self._serial
            if stop.wait(_TICK_S) or serial is None:
                continue
            try:
                if self._tick(serial, is_due=now_s() - quiet_since >= _QUIET_S):
                    quiet_since = now_s()
            except UnansweredError as error:
                trouble = _message("trouble", None, {"error": str(error)})
                self._put_to_all(partial(_same, trouble))
                stop.wait(_QUIET_S)

    def _tick(self, serial: int, *, is_due: bool) -> bool:
        """Whether there was something to tell."""
        report = self._asker.ask(lambda server: server.report(serial))
        runs = _by_key(report)
        changed = [run for key, run in runs.items() if self._known.get(key) != run]
        gone = [key for key in self._known if key not in runs]
        if not (changed or gone or is_due or report["serial"] != serial):
            return False
        self._known = runs

        def compose(scope: Scope) -> bytes:
            fields = {
                "server": totals_of(report, scope),
                "runs": [run for run in changed if is_seen(run["space"], scope)],
                "gone": [key for key in gone if is_seen(key[0], scope)],
                "events": _events(report, scope),
            }
            return _message("tick", self._id(report), fields)

        self._put_to_all(compose)
        with self._lock:
            if self._serial is not None:
                self._serial = report["serial"]
        return True

    def _put_to_all(self, compose: Callable[[Scope], bytes]) -> None:
        with self._lock:
            onlookers = list(self._onlookers)
        composed: dict[Scope, bytes] = {}
        for onlooker in onlookers:
            scope = onlooker.scope
            if scope not in composed:
                composed[scope] = compose(scope)
            onlooker.put(composed[scope])


def _same(message: bytes, _: Scope) -> bytes:
    return message


def _by_key(report: Report) -> dict[tuple[str, str], dict[str, Any]]:
    return {run_key(run): run for run in summaries_of(report, None)}


def _events(report: Report, scope: Scope) -> list[dict[str, Any]]:
    """Of each run, those that are new."""
    now = report["monotonic_s"]
    return [
        {"space": run["space"], "run_id": run["run_id"], "events": _told(run["events"], now)}
        for run in report["runs"]
        if run["events"] and is_seen(run["space"], scope)
    ]


def _told(events: list[Any], now: float) -> Iterable[dict[str, Any]]:
    return [event_as_json(event) for event in events_of(events[-_EVENTS_MAX:], now)]


def _message(kind: str, number: str | None, fields: dict[str, Any]) -> bytes:
    """One line of data: JSON has no line feeds."""
    named = "" if number is None else f"id: {number}\n"
    return f"event: {kind}\n{named}data: {json.dumps(fields)}\n\n".encode()
